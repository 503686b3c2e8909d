"""Hit rates of objects by size, and AuPRC and FPR95 with intervals, against scikit-learn and plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_curve

from benchmarks.frame_intervals import FrameHistograms
from benchmarks.object_hits import ObjectScore, hit_rate, object_scores
from m2a_core.errors import DataError


def frame(rng: np.random.Generator, quality: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    truth = (rng.random((20, 30)) < 0.05).astype(np.uint8)
    score = rng.normal(quality * truth, 1.0)
    truth[rng.random(truth.shape) < 0.1] = 255
    return score, truth


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_level_of_an_object_is_the_highest_threshold_that_half_of_its_pixels_reach(seed):
    rng = np.random.default_rng(seed)
    truth = np.zeros((9, 9), np.uint8)
    truth[1:3, 1 : int(rng.integers(2, 6))] = 1
    truth[6:8, 6:9] = 1
    truth[0] = 255
    score = rng.integers(0, 6, truth.shape).astype(np.float32)
    for found, area in zip(object_scores(score, truth), (truth[1:3].sum(), 6), strict=True):
        assert found.area == area
    first = score[1:3][truth[1:3] == 1]
    level = object_scores(score, truth)[0].level
    assert (first >= level).mean() >= 0.5
    assert (first > level).mean() < 0.5


def test_rates_count_the_objects_of_a_size_alone():
    objects = [ObjectScore(10, 0.9), ObjectScore(10, 0.2), ObjectScore(99, 0.5), ObjectScore(100, 0.1)]
    assert hit_rate(objects, 0.5) == 0.5
    assert hit_rate(objects, 0.5, 0, 50) == 0.5
    assert hit_rate(objects, 0.5, 50, 100) == 1
    assert hit_rate(objects, 0.5, 100, 200) == 0
    assert np.isnan(hit_rate(objects, 0.5, 200, 300))


def test_maps_of_different_sizes_are_refused():
    with pytest.raises(DataError, match=r"score map is \[2, 2\], its truth \[3, 3\]"):
        object_scores(np.zeros((2, 2)), np.zeros((3, 3), np.uint8))


def pooled(frames: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.concatenate([s[t < 2] for s, t in frames])
    return scores, np.concatenate([t[t < 2] for _, t in frames])


def histograms(frames: list[tuple[np.ndarray, np.ndarray]]) -> FrameHistograms:
    made = FrameHistograms(pooled(frames)[0])
    for score, truth in frames:
        made.add(score, truth)
    return made


def test_binned_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    frames = [frame(rng) for _ in range(12)]
    figures = histograms(frames).figures(draws=0)
    scores, truth = pooled(frames)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert figures["auprc"].value == pytest.approx(average_precision_score(truth, scores), abs=0.01)
    assert figures["fpr95"].value == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=0.01)
    assert figures["auprc"].low == figures["auprc"].value == figures["auprc"].high


def test_intervals_hold_the_value_shrink_with_more_frames_and_depend_on_the_seed_alone():
    rng = np.random.default_rng(2)
    few = histograms([frame(rng) for _ in range(6)]).figures(400)
    many = histograms([frame(rng) for _ in range(60)]).figures(400)
    for name in ("auprc", "fpr95"):
        assert few[name].low < few[name].value < few[name].high
        assert many[name].high - many[name].low < few[name].high - few[name].low
    again = histograms([frame(np.random.default_rng(3)) for _ in range(4)])
    assert again.figures(50, seed=1) == again.figures(50, seed=1)


@pytest.mark.slow
def test_the_interval_is_about_that_of_new_sets_of_frames():
    rng = np.random.default_rng(4)
    values = [histograms([frame(rng) for _ in range(10)]).figures(0)["auprc"].value for _ in range(80)]
    spread = np.quantile(values, 0.975) - np.quantile(values, 0.025)
    widths = [
        (lambda i: i.high - i.low)(histograms([frame(rng) for _ in range(10)]).figures(200)["auprc"]) for _ in range(10)
    ]
    assert 0.6 * spread < np.mean(widths) < 1.5 * spread


@pytest.mark.parametrize("fpr", [0.2, 0.05, 0.01])
def test_the_threshold_of_a_rate_lets_no_more_known_pixels_through(fpr):
    rng = np.random.default_rng(5)
    frames = [frame(rng) for _ in range(10)]
    threshold = histograms(frames).threshold(fpr)
    scores, truth = pooled(frames)
    share = (scores[truth == 0] >= threshold).mean()
    assert fpr - 0.01 <= share <= fpr


def test_sets_without_one_of_both_kinds_have_no_figures():
    made = FrameHistograms(np.linspace(0, 1, 10))
    made.add(np.ones((2, 2)), np.ones((2, 2), np.uint8))
    with pytest.raises(DataError, match="known and anomalous"):
        made.figures()
    with pytest.raises(DataError, match="no known pixels"):
        made.threshold(0.1)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.1, 0.02]))
@settings(max_examples=30, deadline=None)
def test_the_threshold_of_a_false_positive_rate_is_the_lowest_edge_that_keeps_it(seed, fpr):
    rng = np.random.default_rng(seed)
    score, truth = frame(rng)
    histograms = FrameHistograms(rng.normal(0, 2, 40))
    histograms.add(score, truth)
    known = score[truth == 0]
    kept = [edge for edge in histograms.edges if (known >= edge).mean() <= fpr]
    assert histograms.threshold(fpr) == (kept[0] if kept else np.inf)


@pytest.mark.slow
def test_the_interval_of_equal_frames_is_the_value_and_that_of_others_has_a_tail_on_each_side():
    rng = np.random.default_rng(0)
    equal, other = (FrameHistograms(np.linspace(-4, 7, 100)) for _ in range(2))
    same = frame(rng)
    for _ in range(8):
        equal.add(*same)
        other.add(*frame(rng, quality=float(rng.uniform(0.5, 3))))
    for figure in equal.figures(200).values():
        assert figure.low == pytest.approx(figure.value) == figure.high
    wide = other.figures(4000)["auprc"]
    drawn = [other.figures(1, seed)["auprc"].low for seed in range(1500)]
    assert np.mean(np.array(drawn) < wide.low) == pytest.approx(0.025, abs=0.013)
    assert np.mean(np.array(drawn) > wide.high) == pytest.approx(0.025, abs=0.013)


def test_objects_that_touch_at_a_corner_are_one_and_of_none_there_is_no_rate():
    truth = np.zeros((4, 4), np.uint8)
    truth[0, 0] = truth[1, 1] = 1
    assert [o.area for o in object_scores(np.ones((4, 4)), truth)] == [2]
    assert np.isnan(hit_rate([], 0.5))
