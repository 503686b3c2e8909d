"""Where the road ends, as the horizon window takes it: the road itself decides, not what lies beside it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m2a_core.openset.components import largest_component
from m2a_core.perception import horizon as hz


def triangle(height: int, width: int, top: int, column: int) -> np.ndarray:
    """A road that narrows from the whole lower edge to a point."""
    road = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(road, np.array([(column, top), (width - 1, height - 1), (0, height - 1)]), 1)
    return road > 0


def test_the_far_end_is_the_tip_of_the_largest_road() -> None:
    road = triangle(200, 400, 80, 300)
    road[10:20, 20:60] = True
    found = hz.far_end(road)
    assert found is not None
    # The tip itself is narrower than what counts as road.
    assert found == pytest.approx((80 / 200, 300 / 400), abs=0.03)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_bank_beside_the_road_that_was_taken_for_road_is_not_its_far_end(mirrored: bool) -> None:
    road = triangle(200, 400, 110, 220)
    cv2.fillConvexPoly(bank := road.astype(np.uint8), np.array([(365, 60), (399, 60), (399, 199), (380, 199)]), 1)
    found, bare = (hz.far_end(x[:, ::-1] if mirrored else x) for x in (bank > 0, road))
    assert found == bare


@given(hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 60))))
def test_the_far_end_of_any_road_is_on_rows_of_its_largest_part_and_inside_the_image(road) -> None:
    found = hz.far_end(road)
    if found is None:
        assert not road.any() or road.shape[1] > 50
        return
    y, x = found
    own = largest_component(road.astype(np.uint8))
    assert own is not None
    assert own[round(y * road.shape[0])].any()
    assert 0 < x < 1


def test_a_road_that_is_too_thin_ahead_ends_where_all_of_it_ends() -> None:
    road = np.zeros((300, 200), bool)
    road[40:, [0, 1, 198, 199]] = True
    np.fill_diagonal(road[50:250], True)
    found = hz.far_end(road)
    assert found is not None
    assert found[0] == 40 / 300


def test_no_road_has_no_far_end() -> None:
    assert hz.far_end(np.zeros((50, 80), bool)) is None
    assert hz.far_end(np.eye(50, 800, dtype=bool)) is None
