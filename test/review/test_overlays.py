"""Overlays drawn from published maps, and outputs that belong to no image."""

from __future__ import annotations

import numpy as np
import pytest

from m2a_ros.replay.unmatched import UnmatchedOutputs
from m2a_ros.replay.warm_up import WARM_UP_STAMP_NS
from m2a_ros.review.measured import realtime_lines
from m2a_ros.review.overlays import instances_of


def test_instances_are_read_back_from_the_published_ids() -> None:
    ids = np.zeros((40, 60), np.uint16)
    ids[10:20, 5:15] = 7
    ids[30:35, 40:44] = 9
    anomaly = np.zeros((40, 60), np.float32)
    anomaly[ids == 7] = 0.75
    first, second = instances_of(ids, anomaly)
    assert (first.id, first.bbox, first.area, first.score) == (7, (5, 10, 15, 20), 100, 0.75)
    assert first.contact == (9.5, 19.0)
    assert (second.id, second.bbox) == (9, (40, 30, 44, 35))


def test_outputs_without_their_image_are_counted_and_named() -> None:
    strangers, known, other = UnmatchedOutputs(), ("front", 5, "optical"), ("front", 5, "elsewhere")
    strangers.sent(known)
    for key in (known, other, ("front", WARM_UP_STAMP_NS, "m2a_replay_warm_up")):
        strangers.came(key, "anomaly_map")
    assert strangers.figures() == {
        "count": 1,
        "first": ["anomaly_map of front: stamp 5 of frame 'elsewhere' was never sent"],
    }
    strangers.came(known, "anomaly_map")
    assert strangers.figures()["count"] == 2
    assert "anomaly_map of front: stamp 5 came 2 times" in strangers.figures()["first"]


def test_an_image_sent_twice_may_be_answered_twice() -> None:
    strangers, key = UnmatchedOutputs(), ("front", 5, "optical")
    for _ in range(2):
        strangers.sent(key)
        strangers.came(key, "anomaly_map")
    assert strangers.figures() == {"count": 0, "first": []}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(3.0, "too short a run for a slope"), (600.0, "slope +31702 MiB an hour")]
)
def test_a_slope_is_told_of_long_runs_only(seconds: float, shown: str) -> None:
    figures = {
        "sent": 1,
        "answered": 1,
        "rate": 1.0,
        "lost": {},
        "latency_ms": None,
        "age_ms": None,
        "player_late_ms": None,
        "memory": {"samples": 9, "first_mib": 100.0, "last_mib": 117.6, "slope_mib_per_hour": 31702.0},
        "seconds": seconds,
        "stamps_ambiguous": 0,
        "answers_ambiguous": 0,
        "gaps_shortened": 1,
        "recording_stalled_ms": 0.0,
        "outputs_of_no_image": {"count": 0, "first": []},
    }
    text = "\n".join(realtime_lines(figures))
    assert shown in text
    assert "1 of 1 image answered" in text
    assert "1 pause in the bag shortened" in text
