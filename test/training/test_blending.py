"""How objects are fitted in: each mode's own mark on a disc pasted on a plain road."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from m2a_core.errors import ConfigError
from m2a_core.training.data_config import BLEND_MODES, BlendConfig
from m2a_core.training.outliers import AnomalyMix
from m2a_core.training.pasting import paste
from test.training.synthetic import ROAD, SIZE, cutout, disc

PLAIN = BlendConfig(match=(0, 0), blur=(0, 0), edge=(0, 0), noise=(0, 0), shadow=0.0, texture_swap=0.0, on_road=1.0)
RED = (250, 10, 10)


def pasted(*modes: str, seed: int = 0, foot: tuple[int, int] = (60, 80), road: int = 90):
    image, label, outlier = np.full((*SIZE, 3), road, np.uint8), np.full(SIZE, ROAD, np.uint8), np.zeros(SIZE, bool)
    blend = dataclasses.replace(PLAIN, modes=modes)
    paste(image, label, outlier, disc(RED), foot, 40, None, blend, np.random.default_rng(seed))
    return image, label, outlier


def soft_pixels(image: np.ndarray) -> int:
    """Pixels that are neither road nor object."""
    share = np.abs(image[..., 1].astype(int) - 90).astype(float)
    return int(((share > 0.15 * share.max()) & (share < 0.85 * share.max())).sum())


def test_a_hard_edge_has_no_mixed_pixels_and_a_gaussian_one_has_many():
    hard, alpha, wide = (soft_pixels(pasted(mode)[0]) for mode in ("hard", "alpha", "gaussian"))
    assert hard == 0
    assert wide > 150 > alpha


def test_poisson_takes_the_colour_of_the_road_and_the_others_keep_their_own():
    """The disc is of one colour: with the surroundings at its edge and no gradients inside, it vanishes."""
    inside = (slice(55, 70), slice(52, 68))
    for mode in BLEND_MODES:
        red = pasted(mode)[0][inside][..., 0].astype(int) - pasted(mode)[0][inside][..., 1]
        assert (np.abs(red).max() < 12) == (mode == "poisson"), mode


@pytest.mark.parametrize("mode", BLEND_MODES)
@pytest.mark.parametrize("foot", [(60, 80), (2, 80), (126, 95), (60, 4)])
def test_every_mode_marks_what_it_covers_even_at_the_edge(mode, foot):
    image, label, outlier = pasted(mode, foot=foot)
    assert outlier.any()
    assert (label[outlier] == 255).all()
    # What is still called road holds less than a tenth of the object.
    assert np.abs(image[~outlier & (label == ROAD)].astype(int) - 90).max() <= 0.1 * 255


@pytest.mark.parametrize(("rows", "columns"), [(30, 1), (30, 2), (1, 30), (2, 2)])
def test_an_object_too_thin_for_poisson_keeps_its_own_colours(rows, columns):
    thin = np.full((40, 40, 4), (*RED, 0), np.uint8)
    thin[4 : 4 + rows, 4 : 4 + columns, 3] = 255
    image, label, outlier = np.full((*SIZE, 3), 90, np.uint8), np.full(SIZE, ROAD, np.uint8), np.zeros(SIZE, bool)
    blend = dataclasses.replace(PLAIN, modes=("poisson",))
    paste(image, label, outlier, thin, (60, 80), 40, None, blend, np.random.default_rng(0))
    assert outlier.sum() == rows * columns
    red, green, _ = image[outlier].astype(int).T
    assert (red - green > 150).all()


def test_one_of_several_modes_is_drawn_per_object():
    kinds = {bool(soft_pixels(pasted("hard", "gaussian", seed=seed)[0]) > 100) for seed in range(12)}
    assert kinds == {True, False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": ()}, "modes: expected some of alpha, hard, gaussian, poisson"),
        ({"modes": ("feather",)}, "modes: expected some of"),
        ({"metres": (0.0, 1.0)}, "metres: expected 0 <= smallest <= largest"),
        ({"noise": (3.0, 1.0)}, "noise: expected"),
        ({"on_road": 1.5}, "on_road: expected a number from 0 to 1"),
    ],
)
def test_values_out_of_range_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PLAIN, **changes)


def test_objects_stand_on_the_classes_they_are_told_to():
    label = np.full(SIZE, 7, np.uint8)
    label[70:90] = 2
    frame = np.full((*SIZE, 3), 90, np.uint8)
    small = dataclasses.replace(PLAIN, metres=(0.2, 0.2), modes=("hard",))
    mix = AnomalyMix([cutout("ball", RED)], [], small, ground=(2,))
    feet = []
    for seed in range(10):
        outlier = np.zeros(SIZE, bool)
        mix.add_unknown(frame.copy(), label.copy(), outlier, 1, np.random.default_rng(seed))
        feet.append(int(np.nonzero(outlier)[0].max()))
    assert 66 <= min(feet) <= max(feet) <= 92
