"""A network that hangs: reported, given up, loaded again; the node's exits never wait for it."""

# ruff: noqa: SLF001 - a step of the model before is called from outside

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.bundle.manifest import Thresholds
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ConfigError, M2aError, RestartNeededError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.runtime.factory import create_runtime
from m2a_ros.node import model, watchdog
from m2a_ros.outputs.label_info import LABEL_INFO, label_info_message
from test.ros.in_process import RED_BOX, Nodes
from test.ros.messages import camera_info, header, image, scene
from test.tiny_bundle import write_tiny_bundle


class HangingRuntime:
    """A real runtime that hangs while it is told to: a fake for an accelerator that does not answer."""

    def __init__(self, runtime: Any, gate: threading.Event) -> None:
        self._runtime, self._gate = runtime, gate
        self.input_size, self.batch_sizes = runtime.input_size, runtime.batch_sizes
        self.is_accelerator = True
        self.closed = False

    def submit(self, images: np.ndarray, raw: bool = False) -> Any:
        self._gate.wait()
        return self._runtime.submit(images, raw)

    def infer(self, image: np.ndarray, raw: bool = False) -> NetworkOutput:
        return self.submit(image[None], raw).result()[0]

    def close(self) -> None:
        self.closed = True
        self._runtime.close()


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> tuple[list[HangingRuntime], threading.Event]:
    """Every runtime that the node loads, and the gate at which all of them wait."""
    made: list[HangingRuntime] = []
    gate = threading.Event()
    gate.set()

    def load(bundle: Any, backend: str, *_: Any, **__: Any) -> tuple[HangingRuntime, str]:
        made.append(HangingRuntime(create_runtime(bundle, backend, 1), gate))
        return made[-1], backend

    monkeypatch.setattr(model, "create_runtime_or_fall_back", load)
    return made, gate


IMAGE, MASK = "/m2a/input/front/image", "/m2a/output/front/open_set_mask"


def frame(second: int) -> Image:
    message = Image(header=header(second), height=96, width=128, encoding="rgb8", step=384)
    message.data.frombytes(bytes(96 * 128 * 3))
    return message


def hang(nodes: Nodes, runtimes: tuple[list[HangingRuntime], threading.Event]) -> None:
    """Let the network hang on a frame that the node has taken."""
    _, gate = runtimes
    nodes.listen(MASK, Image)
    nodes.answer(MASK, frame(1), IMAGE)
    gate.clear()
    nodes.until(
        lambda: nodes.status("m2a: node").get("message", "").startswith("stalled"), lambda: nodes.send(IMAGE, frame(2))
    )


@pytest.mark.parametrize("transition", ["deactivate", "shutdown"])
def test_exits_do_not_wait_for_a_network_that_hangs(nodes: Nodes, runtimes: Any, transition: str) -> None:
    node = nodes.start(**{"watchdog.timeout": 0.2, "watchdog.restart": False})
    hang(nodes, runtimes)
    # The gate is shut until the end of the test: had it waited, it would not return.
    assert getattr(node, f"trigger_{transition}")() == TransitionCallbackReturn.SUCCESS
    made, gate = runtimes
    if transition == "shutdown":
        assert not made[0].closed, "its memory may still be in use"
    before = len(nodes.received[MASK])
    gate.set()
    for _ in range(20):
        nodes.executor.spin_once(timeout_sec=0.02)
    assert len(nodes.received[MASK]) == before, "a late answer must not be published"


def test_a_stall_is_an_error_in_the_diagnostics_and_ends_with_the_hanging(nodes: Nodes, runtimes: Any) -> None:
    nodes.start(**{"watchdog.timeout": 0.2, "watchdog.restart": False})
    hang(nodes, runtimes)
    assert nodes.status("m2a: node")["level"] == "2"
    runtimes[1].set()
    nodes.until(lambda: nodes.status("m2a: node").get("level") == "0")
    assert nodes.answer(MASK, frame(3), IMAGE)


def test_a_step_that_hangs_is_given_up_and_the_model_loaded_anew(nodes: Nodes, runtimes: Any) -> None:
    node = nodes.start(**{"watchdog.timeout": 0.2})
    hang(nodes, runtimes)
    made, gate = runtimes
    nodes.until(lambda: len(made) == 2)
    gate.set()
    answer = nodes.answer(MASK, frame(5), IMAGE)
    assert answer.header.stamp.sec == 5
    nodes.until(lambda: node.statistics["front"].snapshot().published > 1)
    counts = node.statistics["front"].snapshot()
    assert counts.dropped["stopped"] > 0, "the frame it hung on"
    assert counts.received >= counts.published + sum(counts.dropped.values()) > 2, "nothing begins at zero again"
    assert 2 not in {message.header.stamp.sec for message in nodes.received[MASK]}, "the frame it hung on is lost"
    nodes.until(lambda: nodes.status("m2a: node").get("level") == "0")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
def test_a_network_s_own_process_is_started_anew_without_a_pause(
    nodes: Nodes, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "FIRST_PAUSE_S", 3600.0)
    nodes.start(**{"watchdog.isolate": True, "watchdog.timeout": 0.3})
    nodes.listen(MASK, Image)
    nodes.answer(MASK, frame(1), IMAGE)
    nodes.until(lambda: nodes.status("m2a: node"))
    pid = int(nodes.status("m2a: node")["network_pid"])
    assert pid != os.getpid()
    os.kill(pid, how)
    assert nodes.answer(MASK, frame(2), IMAGE).header.stamp.sec == 2
    nodes.until(lambda: int(nodes.status("m2a: node")["network_pid"]) != pid)


def pid_in_diagnostics(nodes: Nodes) -> str:
    return nodes.status("m2a: node").get("network_pid", "")


def test_a_process_that_dies_while_no_frames_come_is_started_anew_and_once(nodes: Nodes) -> None:
    node = nodes.start(**{"watchdog.isolate": True})
    nodes.until(lambda: pid_in_diagnostics(nodes))
    assert node._stages is not None
    steps: Any = node._stages._steps
    first = pid_in_diagnostics(nodes)
    os.kill(int(first), signal.SIGKILL)
    nodes.until(lambda: pid_in_diagnostics(nodes) != first)
    second = pid_in_diagnostics(nodes)
    # A step that was at work with the first one may end only now.
    steps._on_lost(RestartNeededError("the network's process ended by signal 9"))
    nodes.listen(MASK, Image)
    assert nodes.answer(MASK, frame(1), IMAGE)
    nodes.received["/diagnostics"].clear()
    nodes.until(lambda: pid_in_diagnostics(nodes))
    assert (pid_in_diagnostics(nodes), node.watchdog.problem) == (second, "")


@pytest.mark.parametrize(
    ("attempt", "expected"), [(0, [0.0, 1.0, 2.0, 4.0]), (1, [1.0, 2.0, 4.0, 8.0]), (9, [60.0] * 4)]
)
def test_pauses_grow(attempt: int, expected: list[float]) -> None:
    assert list(islice(watchdog.pauses(attempt), 4)) == expected


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "too many open files"), M2aError("no GPU")])
def test_a_model_that_cannot_be_loaded_again_for_any_reason_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(watchdog, "pauses", lambda _: iter([0.0] * 3))
    answers: list[Any] = [error, error, "the model"]

    def load() -> Any:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    reports: list[str] = []
    loaded = threading.Event()
    recovery = watchdog.Recovery(load, 0, reports.append, loaded.set)
    assert loaded.wait(10)
    assert recovery.take() == "the model"
    assert len(reports) == 2
    assert all((str(error) or type(error).__name__) in report for report in reports)


@pytest.mark.parametrize("transition", ["deactivate", "shutdown"])
def test_exits_end_a_network_s_own_process_that_hangs(nodes: Nodes, transition: str) -> None:
    node = nodes.start(**{"watchdog.isolate": True, "watchdog.timeout": 0.3, "watchdog.restart": False})
    nodes.listen(MASK, Image)
    nodes.answer(MASK, frame(1), IMAGE)
    assert node.model is not None
    os.kill(node.model.pid, signal.SIGSTOP)
    nodes.until(
        lambda: nodes.status("m2a: node").get("message", "").startswith("stalled"), lambda: nodes.send(IMAGE, frame(2))
    )
    assert getattr(node, f"trigger_{transition}")() == TransitionCallbackReturn.SUCCESS


def test_no_second_thread_uses_a_network_that_a_step_of_before_still_uses(nodes: Nodes, runtimes: Any) -> None:
    node = nodes.start(**{"watchdog.timeout": 0.2, "watchdog.restart": False})
    hang(nodes, runtimes)
    made, gate = runtimes
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() != TransitionCallbackReturn.SUCCESS
    assert node.state == "unconfigured"
    assert "stage infer" in node.problem
    assert not made[0].closed, "its memory may still be in use"
    gate.set()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert len(made) == 2
    assert nodes.answer(MASK, frame(4), IMAGE)


def test_a_step_that_ended_after_deactivation_keeps_nothing_from_going_on_or_being_freed(
    nodes: Nodes, runtimes: Any
) -> None:
    node = nodes.start(**{"watchdog.timeout": 0.2, "watchdog.restart": False})
    hang(nodes, runtimes)
    made, gate = runtimes
    node.trigger_deactivate()
    gate.set()
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert nodes.answer(MASK, frame(4), IMAGE)
    assert len(made) == 1
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert made[0].closed


def test_a_model_that_cannot_go_on_once_reloaded_leaves_a_node_that_can_be_configured(
    nodes: Nodes, runtimes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.start(**{"watchdog.timeout": 0.2})
    hang(nodes, runtimes)

    def refuse(*_: Any) -> Any:
        raise ConfigError("thresholds.extent is above thresholds.refined")

    with monkeypatch.context() as patched:
        patched.setattr(model.LoadedModel, "perception", refuse)
        nodes.until(lambda: node.state == "unconfigured")
    assert "cannot go on: thresholds.extent" in node.problem
    runtimes[1].set()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert nodes.answer(MASK, frame(4), IMAGE)


def test_classes_and_threshold_of_a_bundle_that_changed_before_it_was_reloaded_are_published(
    nodes: Nodes, runtimes: Any, tmp_path: Path
) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard = nodes.listen("/m2a/output/front/label_info", LABEL_INFO, latched)
    bundle = write_tiny_bundle(tmp_path / "bundle")
    nodes.start(**{"model": str(bundle), "watchdog.timeout": 0.2})
    hang(nodes, runtimes)
    nodes.until(lambda: heard)
    labels = replace(CAMVID11, names=(*CAMVID11.names[:-1], "tram"))
    write_tiny_bundle(bundle, labels=labels, thresholds=Thresholds(anomaly=0.25, refined=0.5))
    nodes.until(lambda: len(heard) > 1)
    runtimes[1].set()
    assert heard[-1] == label_info_message(labels, 0.25)
    assert nodes.answer(MASK, frame(5), IMAGE)


def test_markers_go_with_the_network_that_is_lost(nodes: Nodes, runtimes: Any) -> None:
    topic = "/m2a/output/front/unknown_markers"
    markers = nodes.listen(topic, MarkerArray)
    node = nodes.start(**{"watchdog.timeout": 0.2, "markers.lifetime": 0.0, "extrinsics": "parameters"})
    nodes.until(
        lambda: node.inputs["front"].camera_info,
        lambda: nodes.send("/m2a/input/front/camera_info", camera_info(128, 96, 100.0)),
    )
    stamps = iter(range(10, 10_000))
    nodes.until(
        lambda: any(m.action == Marker.ADD for array in markers for m in array.markers),
        lambda: nodes.send(IMAGE, image(scene(RED_BOX), next(stamps))),
    )
    made, gate = runtimes
    gate.clear()
    shut = threading.Event()
    with pytest.MonkeyPatch.context() as patched:
        # The model does not come back before the test has looked.
        patched.setattr(model, "load_bundle", lambda *_: shut.wait() and None)
        nodes.until(
            lambda: markers and [m.action for m in markers[-1].markers] == [Marker.DELETE] * 3,
            lambda: nodes.send(IMAGE, image(scene(RED_BOX), next(stamps))),
        )
    assert len(made) == 1
    shut.set()
    gate.set()
