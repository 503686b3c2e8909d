"""Time lines, events and their lanes: by time of recording, whatever the stamps say."""

from __future__ import annotations

from typing import Any

import pytest

from m2a_ros.review.events import find_events, stamps_tell, times_of
from m2a_ros.review.page import bag_names
from m2a_ros.review.timeline import event_title, timelines

SECOND = 1_000_000_000


def frames(recorded: list[float], unknown: list[int] | None = None, **changed: Any) -> list[dict[str, Any]]:
    return [
        {"camera": "front", "stamp_ns": 0, "recorded_ns": round(at * SECOND), "unknown_instances": count, **changed}
        for at, count in zip(recorded, unknown or [0] * len(recorded), strict=True)
    ]


@pytest.mark.parametrize("stamps", [[0, 0, 0], [7, 7, 7], [3, 1, 2]])
def test_stamps_that_stand_still_or_go_back_leave_the_time_line_as_recorded(stamps: list[int]) -> None:
    rows = [{**row, "stamp_ns": stamp * SECOND} for row, stamp in zip(frames([10, 10.5, 12]), stamps, strict=True)]
    times = times_of(rows)
    assert times.of("front") == pytest.approx([0, 0.5, 2])
    assert times.source == "time of recording"


@pytest.mark.parametrize(("stamps", "tell"), [([1, 2, 5], True), ([0, 0, 0], False), ([1, 2, 1], False), ([], True)])
def test_stamps_that_ascend_are_times(stamps: list[int], tell: bool) -> None:
    assert stamps_tell([{"camera": "front", "stamp_ns": stamp} for stamp in stamps]) == tell


def test_stamps_of_two_clocks_are_no_common_time() -> None:
    both = [{"camera": "front", "stamp_ns": 5 * SECOND}, {"camera": "rear", "stamp_ns": 1_700_000_000 * SECOND}]
    assert not stamps_tell(both)


def test_without_times_of_recording_stamps_tell_and_without_either_frames_are_counted() -> None:
    rows = [{key: value for key, value in row.items() if key != "recorded_ns"} for row in frames([0, 0, 0])]
    stamped = [{**row, "stamp_ns": number * SECOND} for number, row in enumerate(rows)]
    assert times_of(stamped).of("front") == pytest.approx([0, 1, 2])
    assert times_of(stamped).source == "stamps of the images"
    assert times_of(rows).of("front") == pytest.approx([0, 0.1, 0.2])
    assert "assumed" in times_of(rows).source


def test_long_pauses_are_cut_and_cameras_share_one_time_line() -> None:
    rows = frames([0, 1]) + frames([3600.5], camera="rear") + frames([3600])
    times = times_of(rows)
    assert times.of("front") == pytest.approx([0, 1, 6])
    assert times.of("rear") == pytest.approx([6.5])


def test_no_and_one_frame_have_a_time_line() -> None:
    assert times_of([]).end == 0
    assert times_of(frames([5])).of("front") == [0]


def test_events_are_stretches_with_unknown_objects_less_than_a_second_apart() -> None:
    rows = frames([0, 0.5, 1.0, 1.4, 3.0, 3.1], [1, 0, 2, 2, 0, 1])
    times = {"drive": times_of(rows)}
    first, second = find_events({"drive": rows}, times)
    assert (first.first, first.last, first.frames, first.most, first.peak) == (0, 3, 3, 2, 3)
    assert (second.first, second.last, second.frames) == (5, 5, 1)
    assert event_title(2, second, times["drive"]) == "Event 2: front, 3.1 s, 1 frame, 1 object"
    assert event_title(1, first, times["drive"]) == "Event 1: front, 0.0 s, 3 frames, up to 2 objects"


def test_an_object_is_green_only_where_it_is_found_and_its_camera_is_named() -> None:
    rows = frames([0, 1, 2, 3, 4])
    found = {
        "bag": "drive",
        "camera": "front",
        "object": "7",
        "frames_found": 2,
        "frames_visible": 5,
        "visible_frames": [[0, 4]],
        "found_frames": [[1, 1], [3, 3]],
    }
    (shown,) = timelines({"drive": "drive"}, {"drive": times_of(rows)}, [], {"objects": [found]})
    text = str(shown["chart"])
    assert "front, object 7: found in 2 of 5 frames" in text
    assert text.count('<rect class="found"') == 2
    assert "object 7: found, 3.00 to 3.00 s" in text
    assert text.count('<rect class="seen"') == 1


def test_a_bag_that_is_just_called_bag_goes_by_its_folder_too() -> None:
    paths = {"bag": "/drives/demo/bag", "night": "/drives/night", "data": "s3://drives/monday/data"}
    found = bag_names({"bags": [{"name": name, "path": path} for name, path in paths.items()]})
    assert found == {"bag": "demo/bag", "night": "night", "data": "monday/data"}
