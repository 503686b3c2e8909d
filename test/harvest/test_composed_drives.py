"""The drives of the closing loop: where objects stand, where lanes are painted, and what counts as found."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.closing_loop_truth import is_shown
from benchmarks.cycle_lane import paint_lane
from benchmarks.free_ground import stands_free
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Look, make_cutout

CAMERA = GroundCamera(480, 360, 432, (240, 180), 1.4, 0.0)
LOOK = Look(1.0, 100, 1.0, 0.5, 0.0, 0.5, (0.0, 0.0))
SQUARE = np.full((40, 40, 4), 255, np.uint8)
HORIZON = 180
ROAD = np.zeros((360, 480), bool)
ROAD[HORIZON:] = True


@pytest.mark.parametrize(
    ("hidden", "free"),
    [
        (slice(0, 0), True),
        # At 10 m a metre is 43 pixels high and the road's row is 240: 25 rows of something else are 58 % of the object.
        (slice(HORIZON, 222), False),
        # A bumper in front of the object's foot.
        (slice(239, 243), False),
    ],
)
def test_an_object_stands_free_where_road_is_under_it_and_behind_most_of_it(hidden: slice, free: bool) -> None:
    ground = ROAD.copy()
    ground[hidden] = False
    cutout = make_cutout(SQUARE, "box", (0.0, 10.0), 1.0, LOOK)
    assert stands_free(cutout, CAMERA, Pose(), LOOK, ground) is free


def test_a_lane_that_was_passed_is_not_painted_into_the_sky() -> None:
    image = np.full((360, 480, 3), 90, np.uint8)
    lane = (0.0, 6.0, 1.5)
    painted, mark = paint_lane(image, CAMERA, Pose(), lane)
    assert mark[HORIZON:].sum() > 1000
    assert not mark[:HORIZON].any()
    assert (painted != image).any()
    passed, mark = paint_lane(image, CAMERA, Pose(z=20.0), lane)
    assert not mark.any()
    assert (passed == image).all()


def test_an_instance_finds_an_object_that_it_covers_and_lies_on() -> None:
    ids = np.zeros((20, 20), np.uint16)
    ids[5:9, 5:9] = 1
    instances = np.zeros_like(ids)
    assert not is_shown(ids, 1, instances)
    instances[5:9, 5] = 3
    assert is_shown(ids, 1, instances)
    instances[5, 5] = 0
    assert not is_shown(ids, 1, instances)
    instances[:] = 2
    assert not is_shown(ids, 1, instances)
    # Half of this instance lies beside the object.
    instances[:] = 0
    instances[5:9, 3:7] = 7
    assert is_shown(ids, 1, instances)
    instances[5, 2] = 7
    assert not is_shown(ids, 1, instances)
