"""Answers that are unlike those of the calibration are told, single ones are not."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest

from m2a_core.bundle.loading import load_bundle
from m2a_core.bundle.manifest import Manifest
from m2a_core.bundle.score_profile import FEATURES
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ConfigError, ModelError
from m2a_core.stream.drift import DRIFT, LEAST_FRAMES, WINDOW, DriftWatch, features, fit
from test.tiny_bundle import write_tiny_bundle

SIZE = (32, 48)


def answer(rng: np.random.Generator, unknown: float = 0.1) -> NetworkOutput:
    """Of a network of 5 queries and 3 classes; ``unknown`` is about the mean of f."""
    anomaly = rng.beta(2.0, 2.0 / unknown - 2.0, SIZE).astype(np.float32)
    probs = rng.dirichlet([8.0, 1.0, 1.0, 1.0], 5).astype(np.float32)
    masks = rng.random((5, SIZE[0] // 4, SIZE[1] // 4)) < 0.4
    maps = {"refined": anomaly, "background": anomaly, "semantic": np.zeros(SIZE, np.uint8)}
    return NetworkOutput(
        anomaly=anomaly, winning_query=np.zeros((8, 12), np.int32), query_masks=masks, class_probs=probs, **maps
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def profile(rng):
    return fit(np.array([features(answer(rng), SIZE) for _ in range(2 * LEAST_FRAMES)]))


def test_answers_like_those_of_the_calibration_are_no_drift(profile, rng):
    watch = DriftWatch()
    assert {watch.judge(answer(rng), SIZE, profile) for _ in range(4 * WINDOW)} == {""}


def test_most_of_a_window_makes_a_drift_and_it_ends_with_them(profile, rng):
    watch = DriftWatch()
    said = [watch.judge(answer(rng, unknown=0.6), SIZE, profile) for _ in range(WINDOW)]
    assert said == [""] * (WINDOW - 1) + [DRIFT]
    assert [watch.judge(answer(rng), SIZE, profile) for _ in range(WINDOW)][-1] == ""


def test_half_of_a_window_is_no_drift(profile, rng):
    watch = DriftWatch()
    unknowns = [0.6, 0.1] * WINDOW
    assert {watch.judge(answer(rng, unknown), SIZE, profile) for unknown in unknowns} == {""}


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def test_figures_are_those_of_the_image_without_its_padding(rng):
    output, (height, width) = answer(rng), (20, 36)
    pixels = [float(output.anomaly[y, x]) for y in range(0, height, 4) for x in range(0, width, 4)]
    queries = output.class_probs.tolist()
    claimed = [bool(output.query_masks[:, y, x].any()) for y in range(height // 4) for x in range(width // 4)]
    expected = [
        logit(statistics.fmean(pixels)),
        logit(statistics.median(pixels)),
        logit(statistics.quantiles(pixels, n=10, method="inclusive")[-1]),
        -statistics.fmean(sum(p * math.log(p) for p in probs) for probs in queries),
        logit(statistics.fmean(max(probs[:-1]) for probs in queries)),
        logit(statistics.fmean(probs[-1] for probs in queries)),
        logit(statistics.fmean(claimed)),
    ]
    np.testing.assert_allclose(features(output, (height, width)), expected, rtol=1e-5)


def test_shares_of_nothing_and_all_stay_finite(rng):
    output = replace(answer(rng), anomaly=np.zeros(SIZE, np.float32), query_masks=np.ones((5, 8, 12), bool))
    found = features(output, SIZE)
    assert found[0] == pytest.approx(logit(0.001))
    assert found[-1] == pytest.approx(logit(0.999))


def test_a_profile_holds_median_spread_and_shrunk_correlation_and_its_limit_is_held_out(rng):
    figures = 0.3 * rng.normal(size=(60, FEATURES)) @ rng.normal(size=(FEATURES, FEATURES))

    def fitted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.median(rows, 0), rows.std(0) + 0.05, 0.9 * np.corrcoef(rows.T) + 0.1 * np.eye(FEATURES)

    distances = []
    for number, row in enumerate(figures):
        center, scale, correlation = fitted(figures[[other % 5 != number % 5 for other in range(60)]])
        z = (row - center) / scale
        distances.append(math.sqrt(z @ np.linalg.solve(correlation, z) / FEATURES))
    found, (center, scale, correlation) = fit(figures), fitted(figures)
    np.testing.assert_allclose(found.center, center)
    np.testing.assert_allclose(found.scale, scale)
    np.testing.assert_allclose(np.linalg.inv(np.array(found.precision)), correlation, atol=1e-9)
    assert found.limit == pytest.approx(np.quantile(distances, 0.95))
    assert found.frames == 60


def test_without_a_profile_nothing_is_said(rng):
    watch = DriftWatch()
    assert {watch.judge(answer(rng, unknown=0.6), SIZE, None) for _ in range(2 * WINDOW)} == {""}


def test_the_distance_is_that_of_mahalanobis(profile):
    # Independent of the way it is summed up: whitened by Cholesky's factor.
    points = np.array(profile.center) + np.array(profile.scale) * np.random.default_rng(1).normal(size=(9, FEATURES))
    factor = np.linalg.cholesky(np.array(profile.precision))
    whitened = ((points - profile.center) / profile.scale) @ factor
    np.testing.assert_allclose(profile.distance(points), np.sqrt((whitened**2).mean(1)), rtol=1e-9)


def test_a_manifest_keeps_the_profile(profile, tmp_path):
    manifest = replace(load_bundle(write_tiny_bundle(tmp_path / "tiny")).manifest, scores=profile)
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("change", [{"limit": float("nan")}, {"scale": (0.0,) * FEATURES}, {"center": (1.0,)}])
def test_a_profile_that_cannot_be_is_refused(profile, change):
    with pytest.raises(ConfigError, match="score profile"):
        replace(profile, **change)


def test_a_manifest_with_a_profile_of_another_kind_is_refused(profile, tmp_path):
    text = replace(load_bundle(write_tiny_bundle(tmp_path / "tiny")).manifest, scores=profile).to_json()
    with pytest.raises(ModelError, match="'frames' is 'many'"):
        Manifest.from_json(text.replace('"frames": 100', '"frames": "many"'))
