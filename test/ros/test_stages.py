"""Stages that overlap or not: bounded, in order, the latest frame wins, a defect costs its frame, stop is prompt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_ros.camera.frame_slot import FrameSlots, ReceivedImage
from m2a_ros.node.stages import HandOver, Stages

CAMERAS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Job:
    image: ReceivedImage
    image_count: int = 1


class Steps:
    """Notes what goes through each step; a step can be held back or made to fail."""

    def __init__(self) -> None:
        self.gates = {name: threading.Event() for name in ("prepare", "infer", "finish", "publish")}
        for gate in self.gates.values():
            gate.set()
        self.entered = {name: threading.Event() for name in self.gates}
        self.prepared: list[Any] = []
        self.batches: list[list[Any]] = []
        self.published: list[tuple[str, Any]] = []
        self.crashes: list[tuple[Any, str]] = []
        self.fail: Callable[[str, Any], bool] = lambda step, message: False

    def prepare(self, image: ReceivedImage) -> Job | None:
        self._pass("prepare", image.message)
        self.prepared.append(image.message)
        return None if image.message == "drop" else Job(image)

    def infer(self, jobs: Sequence[Job]) -> Sequence[Job]:
        for job in jobs:
            self._pass("infer", job.image.message)
        self.batches.append([job.image.message for job in jobs])
        # The network has taken the images.
        return [replace(job, image_count=0) for job in jobs]

    def finish(self, job: Job) -> Job | None:
        self._pass("finish", job.image.message)
        return None if job.image.message == "refuse" else job

    def publish(self, job: Job) -> None:
        self._pass("publish", job.image.message)
        self.published.append((job.image.camera, job.image.message))

    def crashed(self, image: ReceivedImage, trace: str) -> None:
        self.crashes.append((image.message, trace))

    def _pass(self, step: str, message: Any) -> None:
        self.entered[step].set()
        self.gates[step].wait()
        if self.fail(step, message):
            raise KeyError(f"defect in {step}")


class Line:
    """Slots and stages over them."""

    def __init__(self, overlap: bool, max_batch: int = 4) -> None:
        self.steps = Steps()
        self.slots = FrameSlots(CAMERAS)
        self.stages = Stages(self.slots, self.steps, max_batch, overlap)

    def send(self, camera: str, message: Any) -> bool:
        return self.slots.put(ReceivedImage(camera, message))

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def close(self) -> None:
        for gate in self.steps.gates.values():
            gate.set()
        self.stages.stop()


@pytest.fixture(params=[False, True], ids=["one thread", "overlapping"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    made = Line(request.param)
    yield made
    made.close()


@pytest.fixture
def overlapping() -> Iterator[Line]:
    made = Line(True)
    yield made
    made.close()


def test_frames_go_through_in_order(line: Line) -> None:
    for number in range(20):
        line.send("a", number)
        line.wait(lambda number=number: ("a", number) in line.steps.published)
    assert [message for _, message in line.steps.published] == list(range(20))


def test_answers_that_wait_while_another_is_published_are_published_too(overlapping: Line) -> None:
    overlapping.steps.gates["publish"].clear()
    for camera in CAMERAS:
        overlapping.send(camera, camera)
        overlapping.wait(lambda camera=camera: [camera] in overlapping.steps.batches)
    overlapping.wait(overlapping.steps.entered["publish"].is_set)
    overlapping.steps.gates["publish"].set()
    overlapping.wait(lambda: [camera for camera, _ in overlapping.steps.published] == list(CAMERAS))


@pytest.mark.parametrize("step", ["prepare", "infer", "finish", "publish"])
def test_a_defect_costs_its_frame_and_is_reported_with_its_trace(line: Line, step: str) -> None:
    line.steps.fail = lambda at, message: (at, message) == (step, "bad")
    line.send("a", "bad")
    line.wait(lambda: bool(line.steps.crashes))
    line.send("a", "good")
    line.wait(lambda: line.steps.published == [("a", "good")])
    ((message, trace),) = line.steps.crashes
    assert message == "bad"
    assert f"defect in {step}" in trace


@pytest.mark.parametrize("error", [MemoryError("none left"), cv2.error("none left")], ids=["Python's", "OpenCV's"])
def test_a_frame_without_memory_costs_itself_in_one_line(line: Line, error: Exception) -> None:
    if isinstance(error, cv2.error):
        error.code = cv2.Error.StsNoMem

    def fail(step: str, message: str) -> bool:
        if message == "large":
            raise error
        return False

    line.steps.fail = fail
    line.send("a", "large")
    line.wait(lambda: line.steps.crashes == [("large", "not enough memory (none left)")])
    line.send("a", "small")
    line.wait(lambda: line.steps.published == [("a", "small")])


def test_a_stage_goes_on_where_there_is_no_memory_to_report_the_lack_of_it(line: Line) -> None:
    reported: list[str] = []

    def crashed(image: ReceivedImage, trace: str) -> None:
        reported.append(image.message)
        raise MemoryError

    line.steps.fail, line.steps.crashed = (lambda step, message: message == "large"), crashed
    line.send("a", "large")
    line.wait(lambda: reported == ["large"])
    line.send("a", "small")
    line.wait(lambda: line.steps.published == [("a", "small")])


def test_a_frame_that_prepare_drops_goes_no_further(line: Line) -> None:
    line.send("a", "drop")
    line.wait(lambda: line.steps.prepared == ["drop"])
    line.send("a", "next")
    line.wait(lambda: line.steps.published == [("a", "next")])
    assert line.steps.batches == [["next"]]


def test_the_next_frame_is_prepared_and_the_last_one_answered_while_the_network_works(overlapping: Line) -> None:
    steps = overlapping.steps
    steps.gates["finish"].clear()
    overlapping.send("a", 1)
    overlapping.wait(steps.entered["finish"].is_set)
    steps.gates["infer"].clear()
    steps.entered["infer"].clear()
    overlapping.send("a", 2)
    overlapping.wait(steps.entered["infer"].is_set)
    overlapping.send("a", 3)
    overlapping.wait(lambda: steps.prepared == [1, 2, 3])
    assert steps.published == []
    steps.gates["finish"].set()
    overlapping.wait(lambda: steps.published == [("a", 1)])
    steps.gates["infer"].set()
    overlapping.wait(lambda: len(steps.published) == 3)


@pytest.mark.parametrize("slow", ["infer", "finish", "publish"])
def test_a_slow_stage_piles_up_no_frames_and_the_latest_one_wins(overlapping: Line, slow: str) -> None:
    steps = overlapping.steps
    steps.gates[slow].clear()
    replaced = 0
    for number in range(50):
        replaced += overlapping.send("a", number)
        time.sleep(0.002)
    # One in the slow step, at most two in and before each other one, one waiting in the slot.
    assert replaced >= 50 - 8
    steps.gates[slow].set()
    overlapping.wait(lambda: ("a", 49) in steps.published)
    numbers = [message for _, message in steps.published]
    assert numbers == sorted(numbers)
    assert len(numbers) <= 8


def test_frames_of_cameras_that_wait_at_the_same_moment_are_one_batch(overlapping: Line) -> None:
    steps = overlapping.steps
    steps.gates["infer"].clear()
    overlapping.send("a", "a")
    overlapping.wait(steps.entered["infer"].is_set)
    for camera in "bcd":
        overlapping.send(camera, camera)
    overlapping.wait(lambda: len(steps.prepared) == 4)
    # One more is being prepared: then those before it have been handed over.
    steps.gates["prepare"].clear()
    steps.entered["prepare"].clear()
    overlapping.send("a", "late")
    overlapping.wait(steps.entered["prepare"].is_set)
    steps.gates["infer"].set()
    overlapping.wait(lambda: len(steps.published) == 4)
    assert steps.batches == [["a"], ["b", "c", "d"]]


def test_a_moment_of_an_anchor_is_not_split_and_no_batch_is_larger_than_the_network_takes() -> None:
    over = HandOver()
    for camera in CAMERAS:
        over.put([Job(ReceivedImage(camera, camera), image_count=2)])
    assert [len(over.take(4)) for _ in range(2)] == [2, 2]
    over.put([Job(ReceivedImage(camera, camera)) for camera in CAMERAS])
    assert len(over.take(1)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("step", ["prepare", "infer", "finish", "publish"])
def test_stop_returns_while_a_step_hangs_and_nothing_is_published_afterwards(line: Line, step: str) -> None:
    line.steps.gates[step].clear()
    line.send("a", 1)
    line.wait(line.steps.entered[step].is_set)
    assert line.stages.stop()
    line.steps.gates[step].set()
    line.wait(lambda: line.stages.stop() == [])
    assert line.steps.published == ([("a", 1)] if step == "publish" else [])
    assert line.steps.crashes == []


def test_a_step_that_hangs_can_be_seen(line: Line) -> None:
    assert line.stages.stalled_s() == 0.0
    line.steps.gates["infer"].clear()
    line.send("a", 1)
    line.wait(lambda: line.stages.stalled_s() > 0.05)
    line.steps.gates["infer"].set()
    line.wait(lambda: line.stages.stalled_s() == 0.0)


@given(st.lists(st.tuples(st.sampled_from(CAMERAS), st.booleans()), max_size=30), st.booleans(), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_every_frame_is_finished_dropped_or_replaced_and_each_camera_s_order_is_kept(
    sends: list[tuple[str, bool]], overlap: bool, max_batch: int
) -> None:
    line = Line(overlap, max_batch)
    try:
        replaced = 0
        for number, (camera, drop) in enumerate(sends):
            replaced += line.send(camera, "drop" if drop else number)
        line.wait(lambda: len(line.steps.prepared) + replaced == len(sends))
        drops = line.steps.prepared.count("drop")
        line.wait(lambda: len(line.steps.published) + replaced + drops == len(sends))
        for camera in CAMERAS:
            numbers = [message for name, message in line.steps.published if name == camera]
            assert numbers == sorted(numbers)
        assert all(len(batch) <= max_batch for batch in line.steps.batches)
    finally:
        line.close()
