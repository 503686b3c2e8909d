"""Where harvested objects stand: in the vehicle's base frame by a mounting, on the bag's map with odometry."""

from __future__ import annotations

import pytest

from m2a_core.harvest.folder import Harvest
from m2a_ros.main import main
from test.replay.bags import write_bag
from test.review.bags_with_truth import (
    FOCAL,
    HEIGHT_M,
    IDS,
    LABELS,
    approach,
    rectified_images,
    rectified_parameters,
)

FRAMES = 6
NEAREST_M = HEIGHT_M * FOCAL / (60 + 4 * (FRAMES - 1) - 48)
"""Of the object's foot in the last frame, ahead of the camera."""


def harvested(tmp_path, tiny, without, *arguments):
    """The one record of an approach, without some topics."""
    messages = [message for message in approach(FRAMES) if message.topic not in {LABELS, IDS, *without}]
    bag, replay, out = write_bag(tmp_path / "drive", messages), tmp_path / "replay", tmp_path / "harvest"
    assert main(["replay", str(bag), "--model", str(tiny), "--threads", "1", *arguments, "--out", str(replay)]) == 0
    assert main(["harvest", str(replay), "--threads", "1", "--out", str(out)]) == 0
    (record,) = Harvest.open(out).records()
    return record


@pytest.mark.parametrize(
    ("without", "arguments"),
    [({"/odom"}, ()), ({"/odom", "/tf_static"}, ("--mounting", f"height={HEIGHT_M}"))],
    ids=["transforms of the bag", "given mounting"],
)
def test_with_a_mounting_an_object_stands_in_the_base_frame_where_it_was_nearest(tmp_path, tiny, without, arguments):
    record = harvested(tmp_path, tiny, without, *arguments)
    assert record.frame_id == "base_link"
    assert record.x == pytest.approx(NEAREST_M, rel=0.1)
    assert record.distance_min_m == pytest.approx((record.x**2 + record.y**2) ** 0.5)


def test_with_odometry_it_stands_on_the_map_of_the_bag(tmp_path, tiny):
    record = harvested(tmp_path, tiny, set())
    assert record.frame_id == "odometry:/odom"
    assert record.x == pytest.approx(2.0 * (FRAMES - 1) + NEAREST_M, rel=0.1)
    assert record.distance_min_m == pytest.approx(NEAREST_M, rel=0.1)


def test_an_object_of_a_rectified_image_stands_where_p_says(tmp_path, tiny):
    messages = [
        message for message in rectified_images(approach(FRAMES)) if message.topic not in {LABELS, IDS, "/odom"}
    ]
    bag, replay, out = write_bag(tmp_path / "drive", messages), tmp_path / "replay", tmp_path / "harvest"
    file = rectified_parameters(tmp_path / "p.yaml")
    arguments = ["--model", str(tiny), "--threads", "1", "--params-file", str(file)]
    assert main(["replay", str(bag), *arguments, "--mounting", f"height={HEIGHT_M}", "--out", str(replay)]) == 0
    assert main(["harvest", str(replay), "--threads", "1", "--out", str(out)]) == 0
    (record,) = Harvest.open(out).records()
    assert record.x == pytest.approx(NEAREST_M, rel=0.1)


def test_without_a_mounting_its_place_is_unknown(tmp_path, tiny):
    record = harvested(tmp_path, tiny, {"/odom", "/tf_static"})
    assert (record.x, record.frame_id, record.distance_min_m) == (None, None, None)
