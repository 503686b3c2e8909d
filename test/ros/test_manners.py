"""Native manners, in this process: real nodes, real DDS, one executor."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64

from m2a_core.perception import Perception
from m2a_core.types import UNLABELLED
from m2a_ros.node import M2aNode
from m2a_ros.publishers import TIMING_TOPICS
from m2a_ros.rectification import Rectifier
from test.ros.harness import PATIENCE_S
from test.ros.messages import camera_info, compressed, frame, image, scene

SUCCESS = TransitionCallbackReturn.SUCCESS
RED_BOX = (56, 64, 72, 80)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Rig:
    """Nodes under test, and one that plays camera and listener, on one executor."""

    def __init__(self, domain: int, model: Path) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.peer = rclpy.create_node("peer", context=self.context)
        self.executor.add_node(self.peer)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._model = model
        self._nodes: list[M2aNode] = []
        self._senders: dict[str, Any] = {}

    def start(self, namespace: str = "", **parameters: Any) -> M2aNode:
        values = {"model": str(self._model), "threads": 1, "diagnostics.period": 0.1, **parameters}
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        node = M2aNode(context=self.context, namespace=namespace, parameter_overrides=overrides)
        self._nodes.append(node)
        self.executor.add_node(node)
        node.start()
        assert node._state_machine.current_state[1] == "active", node._problem
        return node

    def listen(self, topic: str, kind: type, qos: QoSProfile | int = 5) -> list[Any]:
        self.peer.create_subscription(kind, topic, self.received[topic].append, qos)
        return self.received[topic]

    def send(self, topic: str, message: Any, qos: QoSProfile | int = 1) -> None:
        if topic not in self._senders:
            self._senders[topic] = self.peer.create_publisher(type(message), topic, qos)
        self._senders[topic].publish(message)

    def until(self, test: Callable[[], Any], send: Callable[[], None] = lambda: None) -> Any:
        """Spin until the test gives something, sending every tenth of a second."""
        for _ in range(int(10 * PATIENCE_S)):
            send()
            for _ in range(5):
                self.executor.spin_once(timeout_sec=0.02)
                if found := test():
                    return found
        raise AssertionError(f"in vain; received {({topic: len(got) for topic, got in self.received.items()})}")

    def answer(self, topic: str, message: Any, to: str) -> Any:
        """Send a message until it is answered on a topic that is listened to."""
        got = self.received[topic]
        return self.until(
            lambda: next((m for m in got if m.header.stamp == message.header.stamp), None),
            lambda: self.send(to, message),
        )

    def status(self, name: str) -> dict[str, str]:
        for array in reversed(self.received["/diagnostics"]):
            for status in array.status:
                if status.name == name:
                    values = {pair.key: pair.value for pair in status.values}
                    return {**values, "message": status.message, "level": str(int.from_bytes(status.level, "little"))}
        return {}

    def close(self) -> None:
        self.executor.shutdown()
        for node in (*self._nodes, self.peer):
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def rig(domain: int, tiny: Path) -> Iterator[Rig]:
    made = Rig(domain, tiny)
    made.listen("/diagnostics", DiagnosticArray)
    yield made
    made.close()


def ids(message: Image) -> np.ndarray:
    return np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width)


def resources() -> tuple[int, int, int]:
    """Python threads, threads of the process, open files."""
    return threading.active_count(), len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def resident_kib() -> int:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1])


def test_two_hundred_rounds_of_all_transitions_leave_nothing_behind(rig: Rig) -> None:
    node = rig.start(batch__anchor="front")

    def around() -> None:
        assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS

    for _ in range(20):
        around()
    before, memory = resources(), resident_kib()
    for _ in range(180):
        around()
    assert resources() == before
    # A publisher, a session or a thread's stack kept each round would be tens of MiB.
    assert resident_kib() - memory < 8 * 1024
    rig.listen("/m2a/output/front/open_set_mask", Image)
    rig.answer("/m2a/output/front/open_set_mask", image(scene(RED_BOX), 7), "/m2a/input/front/image")


def test_two_nodes_side_by_side_live_in_their_namespaces_and_in_simulated_time(rig: Rig) -> None:
    first = rig.start("vehicle1", use_sim_time=True)
    second = rig.start("/vehicle2", cameras=["rear"])
    cameras = {"vehicle1": "front", "vehicle2": "rear"}
    masks = {name: f"/{name}/m2a/output/{camera}/open_set_mask" for name, camera in cameras.items()}
    for mask in masks.values():
        rig.listen(mask, Image)
    latency = rig.listen("/vehicle1/m2a/debug/front/pipeline_latency_ms", Float64)
    clock = Clock()
    clock.clock.sec = 5000

    def tick() -> None:
        rig.send("/clock", clock)

    rig.until(lambda: first.get_clock().now().nanoseconds == 5000 * 10**9, tick)
    message = image(scene(RED_BOX), 4990)
    rig.answer(masks["vehicle1"], message, "/vehicle1/m2a/input/front/image")
    # The simulated clock stands: the frame is 9.88 s old, however long this takes.
    assert rig.until(lambda: latency)[-1].data == pytest.approx(1e3 * (5000 - 4990.123456789), abs=1e-3)
    assert rig.received[masks["vehicle2"]] == []
    rig.answer(masks["vehicle2"], image(scene(None), 6), "/vehicle2/m2a/input/rear/image")
    seen = rig.until(lambda: rig.status("vehicle1/m2a: camera front").get("published", "0") != "0")
    assert seen
    assert "stamps.in_future" not in rig.status("vehicle1/m2a: camera front")
    assert rig.until(lambda: rig.status("vehicle2/m2a: camera rear"))
    assert rig.status("vehicle2/m2a: camera front") == {}
    told = len(rig.received["/diagnostics"])
    rig.until(lambda: len(rig.received["/diagnostics"]) > told + 6)  # Of both, though the simulated clock stands.
    assert second.trigger_deactivate() == SUCCESS
    rig.answer(masks["vehicle1"], image(scene(None), 4991), "/vehicle1/m2a/input/front/image")


def test_a_publisher_of_other_quality_of_service_is_reported_with_the_remedy(rig: Rig) -> None:
    topic = "/m2a/input/front/image"
    rig.start(**{f"qos_overrides.{topic}.subscription.reliability": "reliable"}, diagnostics__frame_timeout=0.2)
    name = "m2a: camera front"
    rig.send(topic, image(scene(None), 1), BEST_EFFORT)
    rig.until(lambda: "RELIABILITY" in rig.status(name).get("message", ""))
    rig.until(lambda: "no frame came" in rig.status(name)["message"])
    status = rig.status(name)
    assert status["level"] == "1"
    assert "qos_overrides" in status["message"]
    assert status[f"qos_mismatch.{topic} RELIABILITY"] == "1"
    assert status["publishers"] == "1"


def test_a_reader_of_other_quality_of_service_is_reported(rig: Rig) -> None:
    rig.start()
    topic = "/m2a/output/front/panoptic"
    rig.listen(topic, Image, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    key = f"qos_mismatch.{topic} DURABILITY"
    assert rig.until(lambda: rig.status("m2a: camera front").get(key)) == "1"


def test_matched_publisher_without_frames_names_the_shared_memory_profile(rig: Rig) -> None:
    rig.start(diagnostics__frame_timeout=0.2)
    silent = rig.peer.create_publisher(Image, "/m2a/input/front/image", 1)
    status = rig.until(lambda: "fastdds_profile.xml" in rig.status("m2a: camera front").get("message", ""))
    assert status
    rig.peer.destroy_publisher(silent)


def test_overlays_are_small_by_default_and_change_size_and_quality_while_running(rig: Rig) -> None:
    node = rig.start()
    rgb = scene((600, 800, 700, 900), (1080, 1920))
    for name, kind in (("overlay", Image), ("overlay/compressed", CompressedImage)):
        rig.listen(f"/m2a/debug/front/{name}", kind)
    sizes = []
    for stamp, (width, quality) in enumerate([(960, 90), (0, 90), (320, 90), (320, 10)], start=1):
        changed = node.set_parameters(
            [Parameter("overlay.max_width", value=width), Parameter("overlay.jpeg_quality", value=quality)]
        )
        assert all(result.successful for result in changed)
        made = rig.answer("/m2a/debug/front/overlay", image(rgb, stamp), "/m2a/input/front/image")
        assert made.width == (width or 1920)
        assert made.height == made.width * 9 // 16
        jpeg = rig.answer("/m2a/debug/front/overlay/compressed", image(rgb, stamp), "/m2a/input/front/image")
        sizes.append(len(jpeg.data))
    assert sizes[3] < sizes[2] < sizes[0] < sizes[1]


def test_cameras_are_read_as_each_says(rig: Rig, tiny: Path) -> None:
    rig.start(
        cameras=["front", "rear"], transport="raw", camera__rear__transport="compressed", camera__front__crop=True,
        camera__front__crop_center=1.0,
    )  # fmt: skip
    for camera in ("front", "rear"):
        rig.listen(f"/m2a/output/{camera}/open_set_mask", Image)
    perception = Perception.load(str(tiny), threads=1)
    rgb = scene((56, 120, 72, 136), (160, 128))
    cut = ids(rig.answer("/m2a/output/front/open_set_mask", image(rgb, 1), "/m2a/input/front/image"))
    assert (cut[:64] == UNLABELLED).all()
    np.testing.assert_array_equal(cut[64:], perception.infer(frame(rgb[64:])).open_set)
    rear = rig.answer(
        "/m2a/output/rear/open_set_mask", compressed(rgb, 2, ".png"), "/m2a/input/rear/image/compressed"
    )
    np.testing.assert_array_equal(ids(rear), perception.infer(frame(rgb)).open_set)


def test_rectified_cameras_answer_on_the_rectified_image_and_not_at_all_without_calibration(
    rig: Rig, tiny: Path
) -> None:
    rig.start(camera__front__rectify=True)
    mask, source = "/m2a/output/front/open_set_mask", "/m2a/input/front/image"
    rig.listen(mask, Image)
    rgb = scene(RED_BOX)
    key = "dropped.not_rectified.no_camera_info"
    rig.until(lambda: key in rig.status("m2a: camera front"), lambda: rig.send(source, image(rgb, 1)))
    assert rig.status("m2a: camera front")["level"] == "1"
    info = camera_info(128, 96, 100.0)
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    rig.until(
        lambda: any(m.header.stamp.sec == 2 for m in rig.received[mask]),
        lambda: (rig.send("/m2a/input/front/camera_info", info), rig.send(source, image(rgb, 2)))[0],
    )
    assert [m for m in rig.received[mask] if m.header.stamp.sec == 1] == []
    straight = Rectifier().apply(rgb, info)
    assert (straight != rgb).any()
    want = Perception.load(str(tiny), threads=1).infer(frame(straight)).open_set
    np.testing.assert_array_equal(ids(rig.received[mask][-1]), want)


def test_batched_cameras_are_answered_together_and_told_of(rig: Rig) -> None:
    rig.start(cameras=["left", "front", "right"], batch__anchor="front", batch__wait=10.0)
    cameras = ("left", "right", "front")
    for camera in cameras:
        rig.listen(f"/m2a/output/{camera}/open_set_mask", Image)

    def answered(stamp: int) -> bool:
        return all(
            any(m.header.stamp.sec == stamp for m in rig.received[f"/m2a/output/{camera}/open_set_mask"])
            for camera in cameras
        )

    def send_all() -> None:
        for camera in cameras:
            rig.send(f"/m2a/input/{camera}/image", image(scene(None), 3))

    assert rig.until(lambda: answered(3), send_all)
    status = rig.until(lambda: int(rig.status("m2a: node").get("batches", 0)) > 0 and rig.status("m2a: node"))
    assert status["batch_cameras"] == "3"
    assert status["batch_spread_ms"] == "0.0"
    key = "dropped.outside_window"

    def send_one_late() -> None:
        rig.send("/m2a/input/left/image", image(scene(None), 1))
        rig.send("/m2a/input/front/image", image(scene(None), 5))

    rig.until(lambda: key in rig.status("m2a: camera left"), send_one_late)
    assert rig.status("m2a: camera left")["level"] == "1"
    assert "batch.max_spread" in rig.status("m2a: camera left")["message"]


def test_only_the_overlay_is_compressed(rig: Rig) -> None:
    node = rig.start()
    kinds = {publisher.topic_name: publisher.msg_type for publisher in node.publishers}
    squeezed = [topic for topic, kind in kinds.items() if kind is CompressedImage]
    assert squeezed == ["/m2a/debug/front/overlay/compressed"]
    assert kinds["/m2a/output/front/open_set_mask"] is Image


def test_every_stage_has_a_topic_with_its_time(rig: Rig) -> None:
    rig.start()
    rig.listen("/m2a/output/front/open_set_mask", Image)
    times = {name: rig.listen(f"/m2a/debug/front/{name}", Float64) for name in TIMING_TOPICS}
    stamps = iter(range(1, 10_000))
    rig.until(
        lambda: all(times.values()), lambda: rig.send("/m2a/input/front/image", image(scene(None), next(stamps)))
    )
    stages = [got[-1].data for name, got in times.items() if name.removesuffix("_ms") in (
        "decode", "preprocess", "network", "heads", "publish",
    )]  # fmt: skip
    assert len(stages) == 5
    assert min(stages) >= 0
    status = rig.until(lambda: "publish_ms" in rig.status("m2a: camera front") and rig.status("m2a: camera front"))
    assert {"decode_ms", "network_ms", "processing_time_ms", "seconds_since_last_frame"} <= status.keys()


def test_diagnostics_come_from_a_timer_also_when_nothing_moves(rig: Rig) -> None:
    node = rig.start(diagnostics__frame_timeout=0.1)
    first = len(rig.until(lambda: rig.received["/diagnostics"]))
    rig.until(lambda: len(rig.received["/diagnostics"]) > first + 5)
    assert "no publisher" in rig.until(lambda: rig.status("m2a: camera front").get("message"))
    manifest = node._engine.manifest  # type: ignore[union-attr]
    identity = rig.status("m2a: node")
    assert identity["model"] == manifest.name
    assert identity["onnx_sha256"] == manifest.onnx_sha256
    assert {"backend", "input_size", "version", "state"} <= identity.keys()
