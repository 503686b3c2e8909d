import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.class_scores import anomaly_score, class_scores, segmentation, sigmoid
from m2a_core.openset.refinement import Refinement, refinement_rule
from m2a_core.openset.semantic import open_set_semantic
from test.openset import reference

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("seed", range(5))
def test_scores_follow_equations_3_5_and_7(seed):
    c, m = reference.random_queries(seed)
    masks = reference.sigmoid(m)
    expected = reference.class_scores(c, masks)
    scores = class_scores(c, m)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    np.testing.assert_array_equal(segmentation(scores), expected.argmax(0))
    np.testing.assert_allclose(anomaly_score(scores), 1 - expected.max(0), atol=2e-6)


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


@pytest.mark.parametrize(
    ("labels", "variant", "rule"),
    [
        (CAMVID11, Refinement.PAPER, ({0, 1, 2, 4, 5, 6, 7}, 1, False)),
        (CITYSCAPES19, Refinement.PAPER, (set(range(1, 11)), 1, False)),
        (CITYSCAPES19, Refinement.OFFICIAL, (set(range(2, 11)), 2, True)),
    ],
)
def test_refinement_suppresses_stuff_other_than_road(labels, variant, rule):
    found = refinement_rule(labels, variant)
    assert (found.suppressed, found.min_queries, found.weighted) == rule


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
