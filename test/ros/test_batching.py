"""Frames of several cameras as batches: clocks, dead cameras, drops; no ROS node."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from sensor_msgs.msg import Image

from m2a_ros.camera.batching import OUTSIDE_WINDOW, BatchSlots
from m2a_ros.camera.frame_slot import ReceivedImage
from m2a_ros.parameters.camera_settings import BatchConfig
from test.ros.messages import header

LONG = 60.0


class Batches:
    """Slots of three cameras and what they dropped."""

    def __init__(self, wait: float = LONG, max_spread: float = 0.05) -> None:
        self.drops: Counter[tuple[str, str]] = Counter()
        # The slots look at it again for every batch.
        self.config: Any = SimpleNamespace(**asdict(BatchConfig("front", max_spread, wait)))
        self.slots = BatchSlots(("left", "front", "right"), self.config, lambda *drop: self.drops.update([drop]))

    def put(self, camera: str, stamp: float, received: float | None = None) -> bool:
        made = header(0)
        made.stamp.sec, made.stamp.nanosec = int(stamp), round(stamp % 1 * 1e9)
        return self.slots.put(
            ReceivedImage(camera, Image(header=made), time.monotonic() if received is None else received)
        )

    def batch(self) -> list[str]:
        """The cameras of the next batch."""
        return [image.camera for image in self.slots.take()]

    def batch_ends(self, seconds: float) -> bool:
        """Whether a batch comes within seconds; closes the slots otherwise."""
        taker = threading.Thread(target=self.batch)
        taker.start()
        taker.join(seconds)
        came = not taker.is_alive()
        self.slots.close()
        taker.join()
        return came


def test_frames_within_the_window_are_one_batch_with_the_anchor_first() -> None:
    batches = Batches()
    for camera, stamp in (("right", 10.01), ("left", 9.97), ("front", 10.0)):
        assert batches.put(camera, stamp) is False
    assert batches.batch() == ["front", "left", "right"]
    assert batches.slots.facts.spread_ms == pytest.approx(40)
    assert batches.drops == {}


def test_of_frames_with_equal_stamps_the_latest_is_taken() -> None:
    batches = Batches(wait=0.0)
    for received in range(4):
        batches.put("left", 0, received)
    batches.put("front", 0)
    taken = batches.slots.take()
    assert [image.received_at for image in taken if image.camera == "left"] == [3]


def test_a_batch_waits_for_cameras_that_came_for_the_one_before() -> None:
    batches = Batches()
    for camera in ("left", "right"):
        batches.put(camera, 10.0)
    batches.put("front", 10.0)
    batches.batch()
    batches.put("front", 10.1)
    threading.Timer(0.1, batches.put, ("left", 10.11)).start()
    threading.Timer(0.2, batches.put, ("right", 10.09)).start()
    assert batches.batch() == ["front", "left", "right"]


def test_a_camera_that_dies_costs_one_wait_and_is_waited_for_again_when_it_comes_back() -> None:
    batches = Batches(wait=0.2)
    for camera in ("left", "front"):
        batches.put(camera, 10.0)
    assert batches.batch() == ["front", "left"]
    batches.put("front", 10.1)
    assert batches.batch() == ["front"]  # After the wait.
    batches.config.wait = LONG
    for n in range(2, 5):
        batches.put("front", 10 + n / 10)
        assert batches.batch() == ["front"]  # Would take LONG if the dead camera were waited for.
    batches.put("left", 10.5)
    batches.put("front", 10.5)
    assert batches.batch() == ["front", "left"]
    batches.put("front", 10.6)
    assert not batches.batch_ends(0.3)


def test_a_camera_that_never_came_is_not_waited_for() -> None:
    batches = Batches()
    batches.put("front", 1.0)
    assert batches.batch() == ["front"]


def test_old_frames_are_dropped_with_a_reason_and_later_ones_wait_for_the_next_batch() -> None:
    batches = Batches(wait=0.0)
    batches.put("left", 9.0)
    batches.put("front", 10.0)
    batches.put("right", 10.1)
    assert batches.batch() == ["front"]
    assert batches.drops == {("left", OUTSIDE_WINDOW): 1}
    batches.put("front", 10.1)
    assert batches.batch() == ["front", "right"]


def test_a_camera_with_a_clock_of_its_own_is_dropped_and_the_others_go_on() -> None:
    batches = Batches(wait=0.0)
    for n in range(3):
        batches.put("right", 5000.0 + n)
        batches.put("front", 10.0 + n)
        assert batches.batch() == ["front"]
    assert batches.drops == {("right", OUTSIDE_WINDOW): 3}


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2])
def test_an_anchor_whose_images_come_later_finds_the_frames_of_its_moment(delay: float) -> None:
    batches, late = Batches(wait=0.0), round(delay * 30)
    for n in range(60):
        batches.put("left", n / 30)
        if n >= late:
            batches.put("front", (n - late) / 30)
            assert batches.batch() == ["front", "left"]
            assert batches.slots.facts.spread_ms == pytest.approx(0, abs=1e-3)
    assert batches.drops == {}


def test_an_anchor_slower_than_the_others_takes_the_nearest_and_counts_the_rest() -> None:
    batches = Batches(wait=0.0)
    for n in range(30):
        batches.put("left", 10 + n / 30 + 0.004)
        if n % 3 == 2:
            batches.put("front", 10 + n / 30)
            assert batches.batch() == ["front", "left"]
            assert batches.slots.facts.spread_ms == pytest.approx(4, abs=0.1)
    assert batches.drops == {("left", "replaced_by_newer"): 20}


def test_of_a_camera_that_no_batch_takes_a_few_frames_are_kept_and_the_others_counted() -> None:
    batches = Batches(wait=0.0)
    batches.put("front", 10.0)
    assert batches.batch() == ["front"]
    replaced = [batches.put("left", 10.3 + n / 30) for n in range(20)]
    assert not any(replaced)
    assert batches.drops == {("left", OUTSIDE_WINDOW): 12}


def test_while_the_anchor_is_silent_another_camera_sets_the_pace() -> None:
    batches = Batches(wait=0.0)
    batches.put("left", 10.0)
    batches.put("right", 10.02)
    start = time.monotonic()
    assert sorted(batches.batch()) == ["left", "right"]
    assert time.monotonic() - start > 0.2
    for n in range(1, 4):
        batches.put("left", 10.0 + n)
        assert batches.batch() == ["left"]
    batches.put("left", 14.0)
    batches.put("front", 14.0)
    assert batches.batch() == ["front", "left"]


def test_the_latest_frame_wins_while_nobody_takes() -> None:
    batches = Batches()
    assert [batches.put("front", n) for n in (1.0, 2.0, 3.0)] == [False, True, True]
    assert [image.stamp_ns for image in batches.slots.take()] == [3 * 10**9]


def test_an_anchor_faster_than_the_wait_does_not_put_its_batch_off() -> None:
    batches = Batches(wait=0.2)
    batches.put("left", 10.0)
    batches.put("front", 10.0)
    batches.batch()
    stop = threading.Event()

    def keep_coming() -> None:
        stamp = 11.0
        while not stop.wait(0.02):
            batches.put("front", stamp)
            stamp += 0.02

    thread = threading.Thread(target=keep_coming)
    thread.start()
    assert batches.batch_ends(20.0)
    stop.set()
    thread.join()


def test_closing_releases_a_waiting_taker() -> None:
    batches = Batches()
    batches.put("left", 1.0)
    assert not batches.batch_ends(0.1)
    assert batches.slots.take() == []
