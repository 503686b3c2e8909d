from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.openset.panoptic import draw_unknown
from m2a_core.tracking.track_ids import promote_candidates, renumber
from m2a_core.tracking.tracker import panoptic_instance
from m2a_core.types import PANOPTIC_DIVISOR, OpenSetResult, UnknownInstance

UNKNOWN = 11


def result_of(boxes: list[tuple[int, int, int, int]]) -> OpenSetResult:
    unknown = np.zeros((40, 60), np.uint16)
    instances = []
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        unknown[y0:y1, x0:x1] = number
        contour = np.zeros((1, 2), np.int32)
        instances.append(UnknownInstance(number, 0.5, 1, (x0, y0, x1, y1), contour, (0.0, 0.0)))
    panoptic = np.full((40, 60), 3 * PANOPTIC_DIVISOR, np.int32)
    draw_unknown(panoptic, unknown, UNKNOWN)
    return OpenSetResult(panoptic=panoptic, unknown_instances=unknown, instances=tuple(instances))


# The second lies in the first one's box but not on it; the numbers swap, which must not run into one another.
BOXES = [(2, 2, 20, 20), (30, 5, 40, 30), (41, 5, 50, 30)]


def test_every_map_and_record_carries_the_track_s_number() -> None:
    before = result_of(BOXES)
    after = renumber(before, [2, 1, 700], UNKNOWN)
    assert after.unknown_instances is not None
    assert after.panoptic is not None
    assert [instance.id for instance in after.instances] == [2, 1, 700]
    for instance in after.instances:
        x0, y0, x1, y1 = instance.bbox
        assert (after.unknown_instances[y0:y1, x0:x1] == instance.id).all()
        assert (after.panoptic[y0:y1, x0:x1] == UNKNOWN * 256 + panoptic_instance(instance.id)).all()
    np.testing.assert_array_equal(after.unknown_instances > 0, before.unknown_instances > 0)
    np.testing.assert_array_equal(after.panoptic[after.unknown_instances == 0], 3 * 256)


def test_parts_between_the_pixels_of_an_image_that_is_coarser_than_its_maps_carry_the_number_too() -> None:
    before = replace(result_of(BOXES), image_size=(20, 30))
    assert before.unknown_instances is not None
    # A line of the maps that no centre of the image's pixels lies on: no box knows of it.
    before.unknown_instances[20, 2:29] = 1
    small = tuple(replace(i, bbox=tuple(edge // 2 for edge in i.bbox)) for i in before.instances)
    after = renumber(replace(before, instances=small), [2, 1, 700], UNKNOWN)
    assert after.unknown_instances is not None
    numbers = np.array([0, 2, 1, 700], np.uint16)
    np.testing.assert_array_equal(after.unknown_instances, numbers[before.unknown_instances])


def test_the_result_that_came_in_stays_as_it_was() -> None:
    before, untouched = result_of(BOXES), result_of(BOXES)
    renumber(before, [9, 8, 7], UNKNOWN)
    np.testing.assert_array_equal(before.unknown_instances, untouched.unknown_instances)
    np.testing.assert_array_equal(before.panoptic, untouched.panoptic)


def test_a_frame_s_own_numbers_cost_nothing() -> None:
    before = result_of(BOXES)
    assert renumber(before, [1, 2, 3], UNKNOWN) is before
    assert renumber(result_of([]), [], UNKNOWN).instances == ()


@given(st.integers(1, 65535))
@settings(deadline=None)
def test_the_panoptic_byte_fits_its_place(number: int) -> None:
    assert 1 <= panoptic_instance(number) <= 255
    assert panoptic_instance(number) == (number if number <= 255 else panoptic_instance(number - 255))


def test_held_candidates_join_every_map_and_others_leave_no_trace() -> None:
    strong, weak = result_of(BOXES[:1]), result_of(BOXES[1:])
    before = replace(strong, candidates=weak.instances, candidate_map=weak.unknown_instances)
    after = promote_candidates(before, {2: 300}, UNKNOWN)
    assert after.unknown_instances is not None
    assert after.panoptic is not None
    assert [(instance.id, instance.bbox) for instance in after.instances] == [(1, BOXES[0]), (300, BOXES[2])]
    assert (after.candidates, after.candidate_map) == ((), None)
    assert set(np.unique(after.unknown_instances)) == {0, 1, 300}
    np.testing.assert_array_equal(
        after.panoptic == UNKNOWN * 256 + panoptic_instance(300), after.unknown_instances == 300
    )
    np.testing.assert_array_equal(promote_candidates(before, {}, UNKNOWN).unknown_instances, strong.unknown_instances)
