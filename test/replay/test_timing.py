"""Times: rates over the camera's own span, times of no clock, stamps that are zero."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_ros.bag.cdr_header import header_of, stamp_or_recorded, stamped
from m2a_ros.bag.reader import Bag
from m2a_ros.main import main
from test.replay.bags import IMAGE, START, STEP, STORE, TOPIC, Sent, message_header, raw, scene, write_bag
from test.review.bags_with_truth import label

STRING = "std_msgs/msg/String"
HOUR = 3_600 * 10**9


def text(time: int) -> Sent:
    return Sent("/log", time, STRING, bytes(STORE.serialize_cdr(STORE.types[STRING](data="x"), STRING)))


def info(bag: Path, capsys: Any) -> dict[str, Any]:
    assert main(["bag", "info", str(bag), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def images(count: int, stamp: int | None = None) -> list[Sent]:
    return [raw(scene(4 * (i % 8)), i, stamp=stamp) for i in range(count)]


@pytest.mark.parametrize("others", [[], [START - HOUR], [START + HOUR], [0]], ids=["alone", "before", "after", "zero"])
def test_the_rate_is_that_of_the_camera_s_own_span(tmp_path: Path, capsys: Any, others: list[int]) -> None:
    bag = write_bag(tmp_path / "a", sorted([*images(20), *map(text, others)], key=lambda m: m.time))
    assert info(bag, capsys)["cameras"][TOPIC]["rate_hz"] == pytest.approx(1e9 / STEP)


def test_times_of_no_clock_do_not_make_a_bag_of_54_years(tmp_path: Path, capsys: Any) -> None:
    bag = write_bag(tmp_path / "a", [text(0), text(5), *images(20)])
    assert info(bag, capsys)["duration_s"] == pytest.approx(19 * STEP / 1e9, abs=1e-3)
    with Bag(bag) as opened:
        assert opened.start_ns == START


def test_a_bag_of_simulated_time_begins_at_zero(tmp_path: Path, capsys: Any) -> None:
    bag = write_bag(tmp_path / "a", [replace(m, time=m.time - START) for m in images(20)])
    found = info(bag, capsys)
    assert found["duration_s"] == pytest.approx(19 * STEP / 1e9, abs=1e-3)
    assert found["cameras"][TOPIC]["rate_hz"] == pytest.approx(1e9 / STEP)


@pytest.mark.parametrize("jump", [100 * 10**9, 40 * 365 * 24 * HOUR, 2**64 - 1 - START - 10 * STEP])
def test_a_pause_or_a_jump_of_the_clock_is_not_in_the_rate(tmp_path: Path, capsys: Any, jump: int) -> None:
    messages = images(20)
    late = [replace(m, time=m.time + jump) for m in messages[10:11]] + messages[11:]
    bag = write_bag(tmp_path / "a", messages[:10] + late)
    assert info(bag, capsys)["cameras"][TOPIC]["rate_hz"] == pytest.approx(1e9 / STEP, rel=0.2)


def test_without_times_of_recording_the_stamps_give_the_rate(tmp_path: Path, capsys: Any) -> None:
    bag = write_bag(tmp_path / "a", [replace(m, time=0) for m in images(20)])
    assert info(bag, capsys)["cameras"][TOPIC]["rate_hz"] == pytest.approx(1e9 / STEP)


@pytest.mark.slow
def test_zero_stamps_are_replaced_by_the_time_of_recording_and_said(replay, tmp_path, capsys) -> None:
    bag = write_bag(tmp_path / "a", images(6, stamp=0))
    found = info(bag, capsys)
    assert set(found["cameras"][TOPIC]["stamps"].values()) == {0}
    assert f"{TOPIC}: 6 stamps are zero" in " ".join(found["missing"])
    done = replay(bag)
    assert [frame["stamp_ns"] for frame in done.frames] == [START + i * STEP for i in range(6)]
    camera = done.summary["bags"][0]["cameras"]["cam_front"]
    assert (camera["stamps_zero"], camera["stamps_repeated"]) == (6, 0)
    assert "6 stamps were zero; the time of recording stands in" in capsys.readouterr().out
    stamped_bag = write_bag(tmp_path / "b", images(6))
    assert replay(stamped_bag, out="b").hashes == done.hashes


@pytest.mark.slow
def test_zero_stamps_of_images_and_labels_meet_at_the_time_of_recording(replay, tmp_path) -> None:
    masks = [label(np.zeros((96, 128), np.uint8), i, "/labels") for i in range(4)]
    unstamped = [replace(m, data=stamped(m.data, 0)) for m in [*images(4), *masks]]
    done = replay(write_bag(tmp_path / "a", unstamped), "--gt-topic", "/labels=cam_front")
    assert done.summary["truth"]["frames_scored"] == 4


@pytest.mark.dds
def test_zero_stamps_and_loops_have_latencies_of_their_own(replay, tmp_path, capsys) -> None:
    """Two rounds of a looped recording, and a driver that stamps nothing."""
    rounds = [raw(scene(0), i, stamp=START + (i % 5) * STEP) for i in range(10)]
    zero = [raw(scene(0), i, "/zero/image_raw", stamp=0) for i in range(10)]
    bag = write_bag(tmp_path / "a", sorted([*rounds, *zero], key=lambda m: m.time))
    done = replay(bag, "--rate", "0.1", mode="realtime")
    figures = done.summary["bags"][0]["realtime"]
    assert figures["answered"] >= 10
    assert (figures["stamps_ambiguous"], figures["answers_ambiguous"]) == (10, 0)
    # Five images of one camera are 2 s apart: a wrong partner would show.
    assert 0 < figures["latency_ms"]["max"] < 1_900
    assert all("latency" in frame["latencies_ms"] for frame in done.frames)
    assert {f["stamp_ns"] for f in done.frames if f["camera"] == "zero"} <= {START + i * STEP for i in range(10)}
    assert "left out of the latencies" not in capsys.readouterr().out


@pytest.mark.slow
@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1), st.text(max_size=20).filter(lambda s: "\0" not in s))
def test_the_header_is_that_of_the_decoded_message(sec: int, nanosec: int, frame_id: str) -> None:
    made = message_header(sec * 10**9 + nanosec)
    made.frame_id = frame_id
    message = STORE.types[IMAGE](
        header=made, height=1, width=1, encoding="mono8", is_bigendian=0, step=1, data=np.ones(1, np.uint8)
    )
    for little in (True, False):
        data = bytes(STORE.serialize_cdr(message, IMAGE, little_endian=little))
        assert header_of(data) == (sec * 10**9 + nanosec, frame_id)
        moved: Any = STORE.deserialize_cdr(stamped(data, START), IMAGE)
        assert moved.header.stamp.sec * 10**9 + moved.header.stamp.nanosec == START
        assert (moved.header.frame_id, moved.encoding) == (frame_id, "mono8")


@given(st.binary(max_size=40))
def test_any_bytes_have_a_header_or_none(data: bytes) -> None:
    header_of(data)
    assert len(stamp_or_recorded(data, START)[0]) == len(data)


def test_a_time_that_no_stamp_can_hold_changes_nothing() -> None:
    data = raw(scene(0), 0, stamp=0).data
    assert stamp_or_recorded(data, 2**31 * 10**9) == (data, False)
    assert stamp_or_recorded(data, 0) == (data, False)
