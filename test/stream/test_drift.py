"""Answers that are unlike those of the calibration are told, single ones are not."""

from __future__ import annotations

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
