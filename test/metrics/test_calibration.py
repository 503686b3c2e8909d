"""Threshold choice: order statistics, the conformal guarantee by simulation, and its bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.errors import ConfigError, DataError
from m2a_core.evaluation.calibration import (
    MinuteRate,
    alarm_score,
    conformal_threshold,
    frames_needed,
    minute_threshold,
    threshold_at_alarms,
    threshold_at_tpr,
)


@pytest.mark.parametrize("tpr", [0.5, 0.95, 1.0])
def test_the_threshold_is_the_highest_that_finds_the_share(tpr: float) -> None:
    scores = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    threshold = threshold_at_tpr(scores, tpr)
    assert np.mean(scores >= threshold) >= tpr
    assert np.mean(scores > threshold) < tpr


def test_tied_scores_are_found_together() -> None:
    assert threshold_at_tpr(np.array([1.0, 1.0, 1.0, 0.0]), 0.25) == 1.0


def test_the_alarm_score_is_the_nth_highest() -> None:
    score = np.array([0.1, 0.9, 0.5, 0.7])
    assert alarm_score(score, 1) == 0.9
    assert alarm_score(score, 3) == 0.5
    assert alarm_score(score, 5) == -np.inf


@pytest.mark.parametrize(("rate", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.01, 99), (0.3, 3)])
def test_the_fewest_frames_are_enough_and_one_less_is_refused(rate: float, needed: int) -> None:
    assert frames_needed(rate) == needed
    scores = np.linspace(0, 1, needed, dtype=np.float32)
    assert conformal_threshold(scores, rate).threshold > scores.max()
    with pytest.raises(DataError, match=f"at least {needed} are needed"):
        conformal_threshold(scores[:-1], rate)


@pytest.mark.parametrize("kind", ["continuous", "ties"])
def test_new_frames_raise_alarms_no_more_often_than_promised(kind: str) -> None:
    rng, rate, trials = np.random.default_rng(1), 0.1, 4000
    draws = rng.lognormal(size=(trials, 31)).astype(np.float32)
    draws = np.round(draws) if kind == "ties" else draws
    alarms = [
        frame >= conformal_threshold(calibration, rate).threshold
        for calibration, frame in zip(draws[:, :30], draws[:, 30], strict=True)
    ]
    assert np.mean(alarms) <= rate + 3 * np.sqrt(rate * (1 - rate) / trials)
    if kind == "continuous":
        assert np.mean(alarms) >= 2 / 31 - 3 * np.sqrt(rate * (1 - rate) / trials)


def test_the_bound_holds_for_95_percent_of_calibration_sets() -> None:
    rng = np.random.default_rng(2)
    results = [conformal_threshold(rng.random(60).astype(np.float32), 0.1) for _ in range(2000)]
    bound = results[0].bound(0.95)
    held = np.mean([1 - result.threshold <= bound for result in results])
    assert held == pytest.approx(0.95, abs=0.02)


def test_the_bound_equals_the_beta_quantile() -> None:
    stats = pytest.importorskip("scipy.stats")
    result = conformal_threshold(np.arange(100, dtype=np.float32), 0.05)
    assert result.bound(0.95) == pytest.approx(1 - stats.beta(96, 5).ppf(0.05), abs=1e-9)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_rates_outside_0_and_1_are_refused(rate: float) -> None:
    with pytest.raises(ConfigError):
        frames_needed(rate)


def test_no_anomalous_pixel_is_answered_with_the_other_way() -> None:
    with pytest.raises(DataError, match="--frame-fpr"):
        threshold_at_tpr(np.empty(0), 0.95)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=60, max_size=120), st.integers(1, 8), st.integers(1, 4))
def test_minute_threshold_is_the_lowest_that_keeps_the_rate(scores, rate, fps) -> None:
    alarms = np.array(scores, np.float32)
    minutes = len(alarms) / fps / 60
    if minutes * rate < 1:
        with pytest.raises(DataError, match="too few"):
            minute_threshold(alarms, fps, rate)
        return

    def events(threshold: float) -> int:
        """Counted frame by frame: a run begins an alarm, and another one whenever a second is over."""
        count = length = 0
        for score in alarms:
            length = length + 1 if score >= threshold else 0
            count += length > 0 and (length - 1) % fps == 0
        return count

    found = minute_threshold(alarms, fps, rate)
    assert found.events == events(found.threshold) <= rate * minutes
    for score in np.unique(alarms):
        if score >= found.threshold:
            assert events(score) <= rate * minutes
    below = alarms[alarms < found.threshold]
    if below.size:
        assert events(below.max()) > rate * minutes


def test_minute_bound_is_poisson_s() -> None:
    # Rule of three: no event in a minute bounds the rate at -ln 0.05 with 95 % confidence.
    assert MinuteRate(0.5, 0, 1.0).bound() == pytest.approx(-np.log(0.05), rel=1e-6)
    assert MinuteRate(0.5, 2, 2.0).bound() == pytest.approx(6.2958 / 2, rel=1e-4)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.integers(0, 40))
def test_the_threshold_of_a_count_is_the_lowest_with_no_more_alarms(scores: list[float], alarms: int) -> None:
    found = threshold_at_alarms(np.array(scores, np.float32), alarms)
    assert sum(score >= found for score in scores) <= alarms
    lower = [score for score in scores if score < found]
    assert not lower or sum(score >= max(lower) for score in scores) > alarms
