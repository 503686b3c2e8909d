import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.components import find_components
from m2a_core.openset.mining import group_entropy, looks_like_thing, mask_areas, mine_unknown, overlapping_queries

masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(bool, shape, elements=st.booleans())
)


def _flood(mask):
    """8-connected components as sets of pixels."""
    left, found = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        todo, part = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy, dx in itertools.product((-1, 0, 1), repeat=2)} & left
            left -= near
            todo += near
        found.append(frozenset((int(y), int(x)) for y, x in part))
    return set(found)


def _pixels(component):
    return frozenset(
        (int(y) + component.y, int(x) + component.x) for y, x in zip(*np.nonzero(component.mask), strict=True)
    )


@given(masks)
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("iterations", [None, 1000])
def test_components_are_the_8_connected_ones(iterations, mask):
    components = find_components(mask, iterations=iterations)
    assert {_pixels(c) for c in components} == _flood(mask)
    assert [c.area for c in components] == sorted((c.area for c in components), reverse=True)


def test_number_keeps_the_largest_and_min_area_drops_the_small():
    mask = np.zeros((9, 20), bool)
    mask[0, 0], mask[2:4, 2:4], mask[5:8, 10:15] = True, True, True
    assert [c.area for c in find_components(mask)] == [15, 4, 1]
    assert [c.area for c in find_components(mask, number=2)] == [15, 4]
    assert [c.area for c in find_components(mask, min_area=4)] == [15, 4]
    assert find_components(np.zeros((3, 3), bool)) == []
    assert [c.area for c in find_components(np.ones((3, 3), bool), iterations=9)] == [9]


@pytest.mark.parametrize(("iterations", "parts"), [(0, 10), (3, 7), (8, 2), (9, 1), (500, 1)])
def test_iterations_carry_a_label_one_pixel_each(iterations, parts):
    """A line of 10 pixels needs 9 rounds of 3x3 maximum; after n rounds n + 1 pixels share the last label."""
    components = find_components(np.ones((1, 10), bool), iterations=iterations)
    assert len(components) == parts
    assert components[0].area == iterations + 1 if iterations < 9 else 10


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 19), st.integers(1, 19), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_overlap_is_the_iou_with_the_enlarged_mask(seed, stride, height, width, least):
    rng = np.random.default_rng(seed)
    candidates = rng.random((height, width)) < 0.4
    query_masks = rng.random((3, -(-height // stride), -(-width // stride))) < 0.5
    large = query_masks.repeat(stride, 1).repeat(stride, 2)[:, :height, :width]
    np.testing.assert_array_equal(mask_areas(query_masks, candidates.shape, stride), large.sum((1, 2)))
    for component in find_components(candidates):
        whole = np.zeros_like(candidates)
        whole[component.window] = component.mask
        expected = [q for q, m in enumerate(large) if (whole & m).sum() >= least * (whole | m).sum()]
        found = overlapping_queries(component, query_masks, (height, width), stride, least)
        np.testing.assert_array_equal(found, expected)


def test_entropy_is_of_the_scores_within_the_group():
    p = np.array([[0.1, 0.3, 0.0, 0.6], [0.2, 0.2, 0.2, 0.4]], np.float32)
    quarter = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(2)
    np.testing.assert_allclose(group_entropy(p, {0, 1}), [quarter, 1], rtol=1e-6)
    np.testing.assert_allclose(group_entropy(p, {0, 1, 2}), [quarter * np.log(2) / np.log(3), 1], rtol=1e-6)
    np.testing.assert_array_equal(group_entropy(p, {2}), [0, 0])
    np.testing.assert_array_equal(group_entropy(p, set()), [1, 1])


def _probabilities(class_id, no_object=0.5):
    """Scores that single out one class of CamVid beside "no object"."""
    p = np.full(12, 0.01)
    p[11] = no_object
    p[class_id] = 1 - p.sum() + 0.01
    return p.astype(np.float32)


def test_scores_that_single_out_a_thing_look_like_a_thing():
    assert looks_like_thing(_probabilities(8)[None], CAMVID11)
    assert not looks_like_thing(_probabilities(5)[None], CAMVID11)


def test_decision_averages_over_the_overlapping_queries():
    clear_thing, slight_stuff = _probabilities(8), np.full(12, 1 / 12, np.float32)
    slight_stuff[0] += 0.02
    assert looks_like_thing(np.stack([clear_thing, slight_stuff]), CAMVID11)


@pytest.fixture
def scene():
    """A background with three components: a thing's, a stuff's and one that no mask covers."""
    candidates = np.zeros((32, 48), bool)
    candidates[0:8, 0:8], candidates[12:24, 12:24], candidates[4:8, 32:40] = True, True, True
    query_masks = np.zeros((3, 8, 12), bool)
    query_masks[0, 0:2, 0:2], query_masks[1, 3:6, 3:6] = True, True
    query_masks[2] = True  # covers all, overlaps none significantly
    class_probs = np.stack([_probabilities(8), _probabilities(1), _probabilities(9)])
    return candidates, query_masks, class_probs


def _corners(components):
    return {(c.x, c.y) for c in components}


def test_mining_the_background_keeps_what_overlaps_a_thing_like_mask(scene):
    assert _corners(mine_unknown(*scene, CAMVID11, stride=4, mask_required=True)) == {(0, 0)}


def test_mining_the_anomaly_score_also_keeps_what_no_mask_covers(scene):
    found = mine_unknown(*scene, CAMVID11, stride=4, mask_required=False)
    assert _corners(found) == {(0, 0), (32, 4)}


def test_mining_takes_the_largest_components_first(scene):
    assert mine_unknown(*scene, CAMVID11, stride=4, mask_required=True, number=1) == []
    assert mine_unknown(*scene, CAMVID11, stride=4, mask_required=True, min_area=65) == []
    assert len(mine_unknown(*scene, CAMVID11, stride=4, mask_required=True, number=2, min_area=64)) == 1


def test_overlap_threshold_decides_what_is_significant(scene):
    candidates, query_masks, class_probs = scene
    query_masks[1, 3:6, 6:9] = True  # IoU with the stuff's component is now exactly 1/2
    at_half = mine_unknown(candidates, query_masks, class_probs, CAMVID11, stride=4, mask_required=False)
    above = mine_unknown(
        candidates, query_masks, class_probs, CAMVID11, stride=4, mask_required=False, min_overlap=0.51
    )
    assert (12, 12) not in _corners(at_half)
    assert (12, 12) in _corners(above)


def test_nothing_is_mined_where_nothing_is_a_candidate(scene):
    assert mine_unknown(np.zeros((32, 48), bool), *scene[1:], CAMVID11, stride=4, mask_required=False) == []


@pytest.mark.parametrize("things", [frozenset(), frozenset(range(1, 11))], ids=["no thing", "one stuff class"])
def test_where_the_classes_cannot_tell_stuff_from_things_the_score_decides(scene, things):
    labels = LabelSet("s", CAMVID11.names, things, CAMVID11.colors, 3)
    everything = {(0, 0), (12, 12), (32, 4)}
    assert _corners(mine_unknown(*scene, labels, stride=4, mask_required=False)) == everything
    # The background holds unlabelled stuff: there the paper's rule stays.
    assert _corners(mine_unknown(*scene, labels, stride=4, mask_required=True)) == set()
