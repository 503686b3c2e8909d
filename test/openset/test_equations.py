import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.background import background, winning_query
from m2a_core.openset.class_scores import anomaly_score, class_scores, segmentation, sigmoid
from m2a_core.openset.refinement import Refinement, refine, refinement_mask, refinement_rule
from m2a_core.openset.semantic import open_set_semantic
from test.openset import reference

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("seed", range(5))
def test_scores_follow_equations_3_5_7_and_17(seed):
    c, m = reference.random_queries(seed)
    masks = reference.sigmoid(m)
    expected = reference.class_scores(c, masks)
    scores = class_scores(c, m)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    np.testing.assert_array_equal(segmentation(scores), expected.argmax(0))
    np.testing.assert_allclose(anomaly_score(scores), 1 - expected.max(0), atol=2e-6)
    claims = reference.claims(c, masks)
    np.testing.assert_allclose(background(c, m), 1 - claims.max(0), atol=1e-6)
    np.testing.assert_array_equal(winning_query(c, m), claims.argmax(0))


def test_scores_in_double_precision_stay_double():
    c, m = (a.astype(np.float64) for a in reference.random_queries(0))
    np.testing.assert_allclose(class_scores(c, m), reference.class_scores(c, reference.sigmoid(m)), rtol=1e-14)


def test_anomaly_is_not_clipped_where_queries_agree():
    c = np.full((3, 3), -20, np.float32)
    c[:, 1] = 20
    m = np.full((3, 1, 1), 20, np.float32)
    assert anomaly_score(class_scores(c, m))[0, 0] == pytest.approx(-2, abs=1e-5)


def test_sigmoid_of_extreme_logits_is_finite():
    with np.errstate(over="raise"):
        np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0, 1e4], np.float32)), [0, 0.5, 1])


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_order_of_queries_changes_no_map(seed):
    c, m = reference.random_queries(seed, height=3, width=4)
    order = np.random.default_rng(seed).permutation(len(c))
    np.testing.assert_allclose(class_scores(c[order], m[order]), class_scores(c, m), atol=1e-6)
    np.testing.assert_array_equal(background(c[order], m[order]), background(c, m))
    np.testing.assert_array_equal(order[winning_query(c[order], m[order])], winning_query(c, m))
    for variant in Refinement:
        rule = refinement_rule(CITYSCAPES19, variant)
        np.testing.assert_array_equal(refinement_mask(c[order], m[order], rule), refinement_mask(c, m, rule))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_background_is_at_least_the_anomaly_score(seed):
    """S of a class sums what B takes the maximum of, so f <= B."""
    c, m = reference.random_queries(seed, height=3, width=4)
    assert (anomaly_score(class_scores(c, m)) <= background(c, m) + 1e-6).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("labels", "variant", "suppressed", "min_queries", "weighted"),
    [
        (CAMVID11, Refinement.PAPER, {0, 1, 2, 4, 5, 6, 7}, 1, False),
        (CITYSCAPES19, Refinement.PAPER, set(range(1, 11)), 1, False),
        (CITYSCAPES19, Refinement.OFFICIAL, set(range(2, 11)), 2, True),
    ],
)
def test_refinement_follows_equation_15(seed, labels, variant, suppressed, min_queries, weighted):
    c, m = reference.random_queries(seed, classes=labels.num_classes)
    expected = reference.refinement_mask(c, reference.sigmoid(m), suppressed, min_queries, weighted)
    mask = refinement_mask(c, m, refinement_rule(labels, variant))
    np.testing.assert_array_equal(mask, expected.astype(bool))
    anomaly = anomaly_score(class_scores(c, m))
    refined = refine(anomaly, mask)
    assert refined.dtype == np.float32
    np.testing.assert_array_equal(refined, anomaly * expected)


def _one_pixel(class_id, probability, mask_probability, classes=19, count=1):
    """Queries with a given top probability (the rest evenly spread) and mask probability."""
    p = np.full(classes + 1, (1 - probability) / classes)
    p[class_id] = probability
    logit = np.log(mask_probability / (1 - mask_probability))
    return np.tile(np.log(p), (count, 1)), np.full((count, 1, 1), logit)


@pytest.mark.parametrize(
    ("variant", "class_id", "probability", "mask_probability", "count", "suppressed"),
    [
        ("paper", 10, 0.96, 0.51, 1, True),
        ("paper", 10, 0.94, 0.99, 1, False),
        ("paper", 10, 0.96, 0.49, 1, False),
        ("paper", 1, 0.96, 0.99, 1, True),
        ("paper", 0, 0.96, 0.99, 1, False),
        ("paper", 13, 0.96, 0.99, 1, False),
        ("paper", 19, 0.96, 0.99, 1, False),
        ("official", 10, 0.96, 0.99, 1, False),
        ("official", 10, 0.96, 0.99, 2, True),
        ("official", 10, 0.96, 0.515, 2, False),
        ("official", 10, 0.96, 0.53, 2, True),
        ("official", 1, 0.96, 0.99, 2, False),
    ],
)
def test_refinement_decides_case_by_case(variant, class_id, probability, mask_probability, count, suppressed):
    c, m = _one_pixel(class_id, probability, mask_probability, count=count)
    mask = refinement_mask(c, m, refinement_rule(CITYSCAPES19, Refinement(variant)))
    assert mask[0, 0] == (not suppressed)


def test_refinement_without_road_suppresses_all_stuff():
    labels = LabelSet("ab", ("a", "b"), frozenset({1}), ((0, 0, 0), (1, 1, 1)), None)
    assert refinement_rule(labels).suppressed == {0}


def test_official_refinement_of_other_classes_is_refused():
    with pytest.raises(ConfigError, match=r"camvid11.*use 'paper'"):
        refinement_rule(CAMVID11, Refinement.OFFICIAL)


def test_open_set_is_unknown_from_the_threshold_on():
    semantic = np.array([[3, 3, 3]], np.uint8)
    anomaly = np.array([[0.4, 0.5, 0.6]], np.float32)
    result = open_set_semantic(semantic, anomaly, 0.5, 11)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, [[3, 11, 11]])
