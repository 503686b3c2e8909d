"""Degraded images are told, good ones are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.bundle.loading import shipped_frames
from m2a_core.images import read_image
from m2a_core.stream.image_quality import (
    BLACK,
    BLURRED,
    COVERED,
    DARK,
    FROZEN,
    NOISY,
    SATURATED,
    ImageQuality,
    degradation,
    noise_sigma,
    percentiles,
)

FRAMES = [read_image(path) for path in sorted(shipped_frames().glob("*.jpg"))[::12]]


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def partly_covered(image: np.ndarray) -> np.ndarray:
    """Something dark and out of focus before the left half, as a hand or mud is."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA)
    cover = cv2.resize(cv2.GaussianBlur(small, (0, 0), 12), (width, height)) // 3 + 20
    edge = np.clip((width / 2 - np.arange(width)) / (0.05 * width) + 0.5, 0, 1)[None, :, None]
    mixed: np.ndarray = (cover * edge + image * (1 - edge)).astype(np.uint8)
    return mixed


def covered(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), 12), image.shape[1::-1]) // 3 + 60


@pytest.mark.parametrize("image", FRAMES)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda image: image, ""),
        (lambda image: image // 16, BLACK),
        (lambda image: np.maximum(image, 252), SATURATED),
        (lambda image: image // 5, DARK),
        (covered, COVERED),
        (partly_covered, COVERED),
        (lambda image: noisy(image, 25.0), NOISY),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 6), BLURRED),
    ],
    ids=["good", "black", "saturated", "dark", "covered", "partly covered", "noisy", "blurred"],
)
def test_what_is_done_to_a_frame_is_found(image, change, found):
    assert degradation(change(image)) == found


@pytest.mark.parametrize("image", FRAMES)
def test_a_clear_sky_over_half_the_picture_is_no_cover(image):
    half = image.shape[0] // 2
    sky = image.copy()
    sky[:half] = np.linspace(190, 220, half)[:, None, None]
    assert degradation(noisy(sky, 1.0)) == ""


def test_a_drawn_picture_of_one_colour_per_area_is_no_cover():
    drawn = np.zeros((240, 320, 3), np.uint8)
    drawn[:120], drawn[120:] = (160, 190, 230), (40, 120, 40)
    assert degradation(drawn) == ""


@given(st.floats(2.0, 40.0))
def test_the_noise_of_a_flat_patch_is_measured(sigma):
    patch = 128 + np.random.default_rng(1).normal(0, sigma, (64, 64)).astype(np.float32)
    assert noise_sigma(patch) == pytest.approx(sigma, rel=0.15)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 255))
def test_a_picture_of_any_size_is_judged(height, width, grey):
    assert degradation(np.full((height, width, 3), grey, np.uint8)) in (BLACK, DARK, SATURATED, COVERED)


@given(st.lists(st.integers(0, 255), min_size=2, max_size=50), st.integers(0, 99))
def test_percentiles_are_those_of_numpy(values, percent):
    grey = np.array([values], np.uint8)
    assert percentiles(grey, percent) == pytest.approx([np.percentile(grey, percent)])


def test_equal_pictures_are_frozen_after_three_seconds_of_their_stamps():
    quality, image = ImageQuality(), FRAMES[0]
    found = [quality.judge(image, int(second * 1e9)) for second in (0, 1, 2.9, 3, 4)]
    assert found == ["", "", "", FROZEN, FROZEN]
    assert quality.judge(FRAMES[1], int(5e9)) == ""
    assert quality.judge(image, int(5.1e9)) == ""


def test_a_small_thing_that_moves_through_a_still_picture_is_no_frozen_camera():
    quality = ImageQuality()
    for step in range(60):
        image = FRAMES[0].copy()
        # Between the pixels of a grid of 16, so that only a closer look finds it.
        image[20:28, 18 + 16 * (step % 7) : 26 + 16 * (step % 7)] = (255, 0, 0)
        assert quality.judge(image, step * 10**8) == ""


def test_a_bag_that_begins_anew_is_not_frozen():
    quality, image = ImageQuality(), FRAMES[0]
    quality.judge(image, int(100e9))
    assert quality.judge(image, int(1e9)) == ""
    assert quality.judge(image, int(2e9)) == ""
