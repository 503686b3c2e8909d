"""m2a replay --mode lockstep: the real node over DDS says what mode offline says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rosbags.highlevel import AnyReader

from m2a_core.bundle.manifest import Thresholds
from test.replay.bags import START, compressed, raw, scene, write_bag
from test.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.dds


def without_latencies(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in frame.items() if key != "latencies_ms"} for frame in frames]


def mixed_bag(path: Path) -> Path:
    """Two cameras, raw and compressed; a loop, a jump back, another size, an unknown encoding, a cut-off message."""
    messages = [raw(scene(4 * i), i) for i in range(4)]
    messages += [compressed(scene(4 * i), i, topic="/rear/image_raw/compressed") for i in range(3)]
    messages += [raw(scene(8), 4, stamp=START), raw(scene(0, (600, 1000)), 5, stamp=START + 1)]
    messages += [replace(raw(scene(0), 6), data=raw(scene(0), 6).data.replace(b"rgb8", b"rgbx"))]
    messages += [replace(raw(scene(0), 7), data=raw(scene(0), 7).data[:-100]), raw(scene(12), 8)]
    return write_bag(path, messages)


def test_lockstep_equals_offline_frame_by_frame_and_in_what_it_cannot_evaluate(replay, tmp_path):
    bag = mixed_bag(tmp_path / "drive")
    offline = replay(bag, out="offline")
    lockstep = replay(bag, out="lockstep", mode="lockstep")
    assert (lockstep.code, len(lockstep.frames)) == (1, 10)
    assert without_latencies(lockstep.frames) == without_latencies(offline.frames)
    assert lockstep.summary["hash"] == offline.summary["hash"]
    assert lockstep.problems == offline.problems
    assert [problem["reason"] for problem in lockstep.problems] == ["bad_image.unknown_encoding", "bad_message"]
    assert {stage for frame in lockstep.frames for stage in frame["latencies_ms"]} == {"round_trip"}
    with AnyReader([lockstep.out / "drive" / "bag"]) as ours, AnyReader([offline.out / "drive" / "bag"]) as theirs:
        found, expected = ({(c.topic, time): data for c, time, data in reader.messages()} for reader in (ours, theirs))
    # Four maps and an overlay of each image, and a class map of each camera.
    assert len(found) == 5 * 10 + 2
    assert found == expected
    assert (lockstep.out / "drive" / "overlay_rear.webm").is_file()


def test_weak_objects_are_numbered_and_held_as_the_node_does(replay, tmp_path):
    # Red scores 0.991: below the seed of an instance, above what holds an object that was seen before.
    shy = write_tiny_bundle(tmp_path / "shy", thresholds=Thresholds(anomaly=0.5, refined=0.995))
    bag = write_bag(tmp_path / "drive", [raw(scene(4 * i), i) for i in range(7)])
    offline = replay(bag, "--model", shy, out="offline")
    assert [frame["unknown_instances"] for frame in offline.frames] == [0, 0, 0, 1, 1, 1, 1]
    lockstep = replay(bag, "--model", shy, out="lockstep", mode="lockstep")
    assert without_latencies(lockstep.frames) == without_latencies(offline.frames)


def test_node_that_does_not_answer_in_time_counts_as_a_loss_by_image(replay, tmp_path):
    bag = write_bag(tmp_path / "drive", [raw(scene(0), 0), raw(scene(0), 1, stamp=START)])
    done = replay(bag, "--timeout", "1e-9", mode="lockstep")
    assert (done.code, done.frames) == (1, [])
    assert [problem["reason"] for problem in done.problems] == ["no_answer", "stamp_of_lost_frame"]


def test_timeout_must_be_positive(replay, tmp_path, capsys):
    bag = write_bag(tmp_path / "drive", [raw(scene(0), 0)])
    assert replay(bag, "--timeout", "0", mode="lockstep").code == 2
    assert "--timeout 0" in capsys.readouterr().err
