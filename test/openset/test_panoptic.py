import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.labels.builtin import CAMVID11
from m2a_core.openset.panoptic import draw_unknown, kept_queries, merge_segments
from m2a_core.types import PANOPTIC_VOID
from test.openset import reference

ROAD, CAR, NO_OBJECT = 3, 8, 11


def _probabilities(*tops, score=0.9):
    p = np.full((len(tops), 12), (1 - score) / 11, np.float32)
    p[np.arange(len(tops)), tops] = score
    return p


def _mask2former(mask_probs, class_probs, things, threshold, overlap):
    """Mask2Former's panoptic_inference: list of (pixels, class)."""
    no_object = class_probs.shape[1] - 1
    keep = [q for q, p in enumerate(class_probs) if p.argmax() != no_object and p.max() > threshold]
    if not keep:
        return []
    prob = np.stack([class_probs[q].max() * mask_probs[q] for q in keep])
    ids = prob.argmax(0)
    stuff, segments = {}, []
    for k, q in enumerate(keep):
        class_id = int(class_probs[q].argmax())
        mask_area, original_area = (ids == k).sum(), (mask_probs[q] >= 0.5).sum()
        mask = (ids == k) & (mask_probs[q] >= 0.5)
        if mask_area > 0 and original_area > 0 and mask.sum() > 0:
            if mask_area / original_area < overlap:
                continue
            if class_id not in things and class_id in stuff:
                stuff[class_id] |= mask
                continue
            segments.append((mask, class_id))
            if class_id not in things:
                stuff[class_id] = mask
    return segments


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_merge_equals_mask2former(seed):
    c, m = reference.random_queries(seed, queries=9, height=8, width=10)
    probs = reference.softmax_rows(c)
    masks = reference.sigmoid(m)
    kept = kept_queries(probs, 0.8)
    scores = probs[kept].max(1)[:, None, None] * masks[kept]
    owner = kept[scores.argmax(0)] if kept.size else np.full(masks.shape[1:], -1)
    panoptic = merge_segments(owner, masks >= 0.5, probs, CAMVID11, 0.8, 0.3)
    expected = _mask2former(masks, probs, CAMVID11.things, 0.8, 0.3)
    assert panoptic.dtype == np.int32
    ids = set(np.unique(panoptic).tolist()) - {PANOPTIC_VOID}
    assert len(ids) == len(expected)
    for mask, class_id in expected:
        inside = np.unique(panoptic[mask])
        assert len(inside) == 1
        assert inside[0] // 256 == class_id
        assert (inside[0] % 256 > 0) == (class_id in CAMVID11.things)
        np.testing.assert_array_equal(panoptic == inside[0], mask)


def test_things_of_a_class_are_numbered_and_stuff_is_merged():
    owner = np.array([[0, 1, 2, 3]], np.int32)
    masks = np.eye(4, dtype=bool)[:, None, :]
    panoptic = merge_segments(owner, masks, _probabilities(CAR, ROAD, CAR, ROAD), CAMVID11, 0.5, 0.8)
    np.testing.assert_array_equal(panoptic, [[CAR * 256 + 1, ROAD * 256, CAR * 256 + 2, ROAD * 256]])


def test_hidden_masks_and_pixels_outside_the_mask_are_void():
    owner = np.array([[0, 0, 1, 1]], np.int32)
    masks = np.array([[[1, 1, 1, 1]], [[0, 0, 1, 0]]], bool)
    panoptic = merge_segments(owner, masks, _probabilities(ROAD, CAR), CAMVID11, 0.5, 0.8)
    np.testing.assert_array_equal(panoptic, [[PANOPTIC_VOID, PANOPTIC_VOID, CAR * 256 + 1, PANOPTIC_VOID]])


def test_what_lies_beside_the_owners_does_not_count():
    random = np.random.default_rng(0)
    masks, owner = random.random((5, 9, 12)) < 0.6, random.integers(-1, 5, (7, 10)).astype(np.int32)
    probs = _probabilities(ROAD, CAR, CAR, NO_OBJECT, ROAD)
    expected = merge_segments(owner, masks[:, :7, :10].copy(), probs, CAMVID11, 0.5, 0.1)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(merge_segments(owner, masks, probs, CAMVID11, 0.5, 0.1), expected)


@pytest.mark.parametrize("probs", [_probabilities(NO_OBJECT, NO_OBJECT), _probabilities(ROAD, CAR, score=0.4)])
def test_without_a_kept_query_all_is_void(probs):
    assert kept_queries(probs, 0.5).size == 0
    assert (
        merge_segments(np.full((2, 3), -1), np.ones((2, 2, 3), bool), probs, CAMVID11, 0.5, 0.8) == PANOPTIC_VOID
    ).all()


def test_more_instances_of_a_class_than_ids_leave_the_rest_void():
    queries = 257
    owner = np.arange(queries, dtype=np.int32)[None]
    masks = np.eye(queries, dtype=bool)[:, None, :]
    panoptic = merge_segments(owner, masks, _probabilities(*[CAR] * queries), CAMVID11, 0.5, 0.8)[0]
    np.testing.assert_array_equal(panoptic[:255], CAR * 256 + np.arange(1, 256))
    assert (panoptic[255:] == PANOPTIC_VOID).all()


def test_unknown_instances_lie_on_top():
    road = [ROAD * 256] * 3
    panoptic = np.array([road, [ROAD * 256, ROAD * 256, PANOPTIC_VOID], road, road], np.int32)
    unknown = np.array([[0, 0, 0], [0, 2, 255], [3, 0, 0], [0, 0, 0]], np.uint16)
    draw_unknown(panoptic, unknown, 11)
    expected = [road, [ROAD * 256, 11 * 256 + 2, 11 * 256 + 255], [11 * 256 + 3, *road[1:]], road]
    np.testing.assert_array_equal(panoptic, expected)


def test_a_map_without_unknown_instances_stays_as_it_is():
    panoptic = np.full((2, 3), ROAD * 256, np.int32)
    draw_unknown(panoptic, np.zeros((2, 3), np.uint16), 11)
    assert (panoptic == ROAD * 256).all()
