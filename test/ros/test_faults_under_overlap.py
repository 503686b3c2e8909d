"""Two cameras whose frames overlap and go as batches: faults cost what they must, and never a wrong answer.

Every good frame has a stamp of its own, by which its answer is known: the mask that the same network gives of it alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.perception import Perception
from m2a_core.runtime.base import Done
from m2a_core.runtime.factory import create_runtime
from m2a_core.types import Frame, Output
from m2a_ros.node import model
from m2a_ros.node.node import M2aNode
from test.ros.hostile import bad_compressed, bad_raw, raw
from test.ros.in_process import Nodes
from test.ros.messages import compressed, image, scene

LEFT, RIGHT = "/m2a/input/left/image", "/m2a/input/right/image/compressed"
MASKS = {LEFT: "/m2a/output/left/open_set_mask", RIGHT: "/m2a/output/right/open_set_mask"}
SIZES = [(96, 128), (60, 80), (96, 160), (130, 50)]


class FakeAccelerator:
    """A real network behind the interface of an accelerator that takes batches; those of several can be held back."""

    is_accelerator = True
    batch_sizes = (1, 2, 4)

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.input_size = runtime.input_size
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.holds = threading.Event()
        self._use = threading.Lock()
        self.is_shared = False

    def submit(self, images: np.ndarray, raw: bool = False) -> Done:
        if not self._use.acquire(blocking=False):
            self.is_shared = True
            raise AssertionError("two threads use the network")
        try:
            return self._work(images, raw)
        finally:
            self._use.release()

    def _work(self, images: np.ndarray, raw: bool) -> Done:
        self.batches.append(len(images))
        time.sleep(0.005)
        if len(images) > 1 and not self.gate.is_set():
            self.holds.set()
            self.gate.wait()
        return Done([self._runtime.infer(picture, raw) for picture in images])

    def close(self) -> None:
        self._runtime.close()


class Cameras:
    """A node with a raw and a compressed camera, and the frames that they sent."""

    def __init__(self, nodes: Nodes, tiny: Any, accelerators: list[FakeAccelerator]) -> None:
        self.nodes = nodes
        self.accelerators = accelerators
        self._alone = Perception.load(str(tiny), threads=1)
        self._sent: dict[int, np.ndarray] = {}
        for topic in MASKS.values():
            nodes.listen(topic, Image, 50)

    def start(self, **parameters: Any) -> M2aNode:
        return self.nodes.start(
            cameras=["left", "right"],
            **{"camera.right.transport": "compressed", "watchdog.restart": False, **parameters},
        )

    def make(self, topic: str, size: tuple[int, int] = SIZES[0]) -> Any:
        """A new frame, with an object that is never twice at the same place."""
        stamp = 1000 + len(self._sent)
        x = 4 * (stamp % 8)
        rgb = self._sent[stamp] = scene((x, size[0] // 2 + 8, x + 16, size[0] // 2 + 24), size)
        return image(rgb, stamp) if topic == LEFT else compressed(rgb, stamp, ".png")

    def send(self, *sizes: tuple[int, int]) -> list[int]:
        """A frame of each camera; their stamps."""
        messages = {topic: self.make(topic, size) for topic, size in zip(MASKS, sizes or SIZES[:2], strict=True)}
        for topic, message in messages.items():
            self.nodes.send(topic, message)
        return [message.header.stamp.sec for message in messages.values()]

    def answered(self, topic: str) -> list[int]:
        return [message.header.stamp.sec for message in self.nodes.received[MASKS[topic]]]

    def until_both_answer(self, *sizes: tuple[int, int]) -> None:
        start = {topic: len(self.answered(topic)) for topic in MASKS}
        self.nodes.until(
            lambda: all(len(self.answered(topic)) > start[topic] for topic in MASKS), lambda: self.send(*sizes)
        )

    def check(self) -> None:
        """Whatever was answered is right, in order, and of good frames alone; one thread used the network."""
        assert not any(accelerator.is_shared for accelerator in self.accelerators)
        for topic, mask in MASKS.items():
            stamps = self.answered(topic)
            assert stamps == sorted(stamps)
            for message in self.nodes.received[mask]:
                rgb = self._sent[message.header.stamp.sec]
                pixels = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width)
                task = self._alone.begin(Frame(rgb), frozenset({Output.OPEN_SET}), size=pixels.shape)
                self._alone.run([task])
                np.testing.assert_array_equal(pixels, self._alone.finish(task).open_set)


@pytest.fixture
def cameras(nodes: Nodes, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cameras]:
    made: list[FakeAccelerator] = []

    def load(bundle: Any, *_: Any, **__: Any) -> tuple[FakeAccelerator, str]:
        made.append(FakeAccelerator(create_runtime(bundle, "onnxruntime", 1)))
        return made[-1], "fake accelerator"

    monkeypatch.setattr(model, "create_runtime_or_fall_back", load)
    yield Cameras(nodes, tiny, made)
    for accelerator in made:
        accelerator.gate.set()


def drops(cameras: Cameras, name: str, reason: str) -> int:
    return int(cameras.nodes.status(f"m2a: camera {name}").get(f"dropped.bad_image.{reason}", 0))


def test_second_looks_at_the_road_s_end_never_share_the_network_with_the_next_frame(cameras: Cameras) -> None:
    """Stamps lie a second apart, so that no window is kept: every frame is looked at twice, one after the other."""
    cameras.start()
    large = (384, 512)
    for _ in range(12):
        cameras.until_both_answer(large, large)
    assert len(cameras.accelerators[0].batches) >= 2 * 12
    cameras.check()


def test_every_hostile_message_between_good_ones_costs_itself_alone(cameras: Cameras) -> None:
    cameras.start()
    cameras.until_both_answer()
    cases: list[tuple[str, str, str, Callable[[int], Any]]] = [
        ("left", LEFT, reason, lambda stamp, change=change: raw(stamp, **change))
        for reason, change in bad_raw().values()
    ]
    cases += [
        (
            "right",
            RIGHT,
            reason,
            lambda stamp, data=data, form=form: CompressedImage(header=raw(stamp).header, format=form, data=data),
        )
        for reason, data, form in bad_compressed().values()
    ]
    for camera, topic, reason, make in cases:
        before = drops(cameras, camera, reason)

        def send(topic: str = topic, make: Callable[[int], Any] = make) -> None:
            cameras.send()
            for _ in range(3):
                cameras.nodes.executor.spin_once(timeout_sec=0.01)
            cameras.nodes.send(topic, make(1))

        cameras.nodes.until(lambda c=camera, r=reason, n=before: drops(cameras, c, r) > n, send)
    cameras.until_both_answer()
    cameras.check()


def test_sizes_may_differ_and_change_between_the_frames_of_one_batch(cameras: Cameras) -> None:
    cameras.start(**{"batch.anchor": "left", "batch.max_spread": 1.5, "batch.wait": 2.0})
    cameras.until_both_answer()
    for number in range(len(SIZES)):
        cameras.until_both_answer(SIZES[number], SIZES[number - 1])
    assert 2 in cameras.accelerators[0].batches
    cameras.check()


def test_a_camera_that_dies_in_the_middle_of_a_batch_takes_no_answer_with_it(cameras: Cameras) -> None:
    cameras.start(**{"batch.anchor": "left", "batch.max_spread": 1.5, "batch.wait": 0.5})
    cameras.until_both_answer()
    (accelerator,) = cameras.accelerators
    accelerator.gate.clear()
    cameras.nodes.until(accelerator.holds.is_set, cameras.send)
    cameras.nodes.peer.destroy_publisher(cameras.nodes.senders.pop(RIGHT))
    before = {topic: len(cameras.answered(topic)) for topic in MASKS}
    accelerator.gate.set()
    cameras.nodes.until(lambda: all(len(cameras.answered(topic)) > before[topic] for topic in MASKS))
    alive = len(cameras.answered(LEFT))
    cameras.nodes.until(
        lambda: len(cameras.answered(LEFT)) > alive + 3, lambda: cameras.nodes.send(LEFT, cameras.make(LEFT))
    )
    cameras.until_both_answer()
    cameras.check()


LIVE = [
    ("output.resolution", "network"),
    ("output.resolution", "64x40"),
    ("output.resolution", "image"),
    ("max_rate", 40.0),
    ("max_rate", 0.0),
    ("overlay.max_width", 64),
    ("temporal.low_threshold", 0.97),
]
TRANSITIONS = [
    ("deactivate", "activate"),
    ("deactivate", "cleanup", "configure", "activate"),
    ("deactivate", "activate"),
]


@pytest.mark.parametrize("rounds", [6, pytest.param(75, marks=pytest.mark.slow)])
def test_parameters_and_the_life_cycle_change_under_load(cameras: Cameras, rounds: int) -> None:
    node = cameras.start()
    cameras.until_both_answer()
    made = 0
    for number in range(rounds):
        name, value = LIVE[number % len(LIVE)]
        cameras.send()
        assert node.set_parameters([Parameter(name, value=value)])[0].successful
        for transition in TRANSITIONS[number % len(TRANSITIONS)]:
            cameras.send(SIZES[number % 4], SIZES[made % 4])
            for _ in range(4):
                cameras.nodes.executor.spin_once(timeout_sec=0.005)
            assert getattr(node, f"trigger_{transition}")() == TransitionCallbackReturn.SUCCESS, node.problem
            made += 1
        threads = [
            thread.name for thread in threading.enumerate() if thread.name in ("m2a_infer", "m2a_finish", "m2a_publish")
        ]
        assert len(threads) == 3, "each transition ends the threads of the one before"
    assert made >= 2 * rounds
    cameras.until_both_answer()
    cameras.check()
    assert not any(key.startswith("dropped.internal") for key in cameras.nodes.status("m2a: camera left"))
