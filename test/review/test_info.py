"""m2a bag info: what of replay, distances, map and ground truth a bag is good for."""

from __future__ import annotations

import json

import pytest

from m2a_ros.main import main
from m2a_ros.review.request import ReviewRequest, Source
from m2a_ros.review.segments import segments_of
from test.replay.bags import START, STEP, TOPIC, raw, write_bag
from test.review.bags_with_truth import approach, camera_info, label, road, truth_of


def info(bag, capsys) -> dict:
    assert main(["bag", "info", str(bag), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_bag_with_everything_is_good_for_everything(tmp_path, capsys):
    labels = [label(truth_of({7: (40, 44, 72, 60)})[0], i, "/m2a/truth/cam_front/anomaly_labels") for i in range(6)]
    messages = [m for m in approach() if not m.topic.startswith("/truth")]
    bag = write_bag(tmp_path / "a", messages + labels)
    found = info(bag, capsys)
    assert found["usable_for"] == {"replay": True, "distances": True, "map": True, "ground truth": True}
    camera = found["cameras"][TOPIC]
    assert (camera["calibration"], camera["mounting"]) == ("calibrated", "1.50 m above the ground")
    assert found["positions"] == {"/odom": "nav_msgs/msg/Odometry"}
    assert set(found["truth"]) == {"/m2a/truth/cam_front/anomaly_labels"}
    assert found["missing"] == []
    assert main(["bag", "info", str(bag)]) == 0
    assert "good for: replay yes, distances yes, map yes, ground truth yes" in capsys.readouterr().out


def test_uncalibrated_camera_and_odd_stamps_are_said(tmp_path, capsys):
    stamps = [START, START + STEP, START + STEP, START - 10**10, START - 10**10 + STEP, START - 10**10 + 9 * STEP]
    messages = [raw(road(), i, stamp=stamp) for i, stamp in enumerate(stamps)] + [camera_info(focal=0.0)]
    found = info(write_bag(tmp_path / "a", messages), capsys)
    assert found["cameras"][TOPIC]["stamps"] == {"going_back": 1, "repeated": 1, "gaps": 1, "jumps": 1}
    assert found["usable_for"] == {"replay": True, "distances": False, "map": False, "ground truth": False}
    text = " ".join(found["missing"])
    for word in (
        "uncalibrated",
        "1 stamps go back",
        "more than once",
        "images are missing",
        "jumps of more than 1 s",
        "/tf_static",
        "nav_msgs/msg/Odometry",
    ):
        assert word in text


@pytest.mark.parametrize(("seconds", "numbers"), [(0.04, [0, 1, 2, 3, 4, 5]), (0.08, [0, 0, 1, 1, 2, 2])])
def test_frames_on_the_border_of_a_segment_belong_to_the_next(tmp_path, seconds, numbers):
    segments = segments_of(Source("a", tmp_path, ()), ReviewRequest(segment_s=seconds))
    starts = [float(segments.of(START + i * STEP).split()[0]) for i in range(6)]
    assert starts == pytest.approx([number * seconds for number in numbers])
