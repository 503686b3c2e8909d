"""The sets that each show one way to fail, and what is measured on them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.road_sets import (
    ABOVE_ROAD,
    FOCAL,
    HARD,
    HEIGHT,
    HORIZON,
    WIDTH,
    foot_at,
    with_large_object,
    with_objects,
)
from benchmarks.road_validation import SetFigures, figures_of, hard_figures
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.targets import IGNORE, OWN_CAR
from test.training.synthetic import cutout

ROAD, SKY = CITYSCAPES19.road, CITYSCAPES19.names.index("sky")


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Sky above the horizon, road with a sidewalk below, a strip of void, the own car."""
    label = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    label[int(HORIZON) + 5 :] = ROAD
    label[int(HORIZON) + 5 :, 1800:] = 1
    label[700:710, :100] = IGNORE
    label[1000:] = OWN_CAR
    image = np.random.default_rng(0).integers(80, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return image, label


@pytest.mark.parametrize("metres", [5.0, 20.0, 80.0])
def test_a_foot_stands_on_the_road_at_its_distance(scene, metres):
    x, y = foot_at(scene[1], metres, np.random.default_rng(1))
    assert scene[1][y, x] == ROAD
    assert FOCAL * ABOVE_ROAD / (y - HORIZON) == pytest.approx(metres, rel=0.02)
    assert foot_at(np.full_like(scene[1], SKY), metres, np.random.default_rng(1)) is None
    assert foot_at(scene[1], 2.0, np.random.default_rng(1)) is None


def test_objects_have_the_size_of_their_distance(scene):
    objects = [cutout("ball", (250, 20, 200))]
    image, mask = with_objects(scene, objects, 1, (0.5, 0.5), (10, 10), np.random.default_rng(2))
    _, _, (_, found), _ = cv2.connectedComponentsWithStats((mask == 1).astype(np.uint8))
    size = FOCAL / 10 * 0.5
    assert found[cv2.CC_STAT_WIDTH] == pytest.approx(size * 36 / 40, rel=0.12)
    assert (image[mask == 1] != scene[0][mask == 1]).any()
    assert (mask[700:710, :100] == 255).all()
    assert (mask[1000:] == 0).all()


@pytest.mark.slow
def test_a_large_object_fills_about_a_fifth(scene):
    objects = [cutout("ball", (250, 20, 200))]
    _, mask = with_large_object(scene, objects, np.random.default_rng(0))
    assert 0.1 < (mask == 1).mean() < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("kind", HARD)
def test_hard_negatives_are_known_pixels(scene, kind):
    image, drawn = HARD[kind](scene, np.random.default_rng(3))
    assert drawn.dtype == bool
    assert 0 < drawn.mean() < 0.5
    assert not drawn[scene[1] == IGNORE].any()
    if kind in ("kerbs", "bonnet"):
        assert np.array_equal(image, scene[0])
    else:
        changed = np.abs(image.astype(int) - scene[0]).max(2) > 3
        assert changed[drawn].mean() > 0.8
    if kind in ("shadows", "paint", "manholes", "wet_road"):
        assert (scene[1][drawn] == ROAD).all()


def test_figures_of_a_perfect_and_of_a_blind_score():
    rng = np.random.default_rng(4)
    perfect, blind = SetFigures(), SetFigures()
    for _ in range(4):
        truth = np.zeros((200, 300), np.uint8)
        truth[50:60, 40:60] = 1  # 200 pixels
        noise = rng.random(truth.shape)
        perfect.add(truth + 0.5 * noise, truth)
        blind.add(noise, truth)
    good, bad = figures_of(perfect), figures_of(blind)
    assert good["auprc"][0] > 0.99
    assert good["fpr95"][0] < 0.01
    assert good["fpr 0.01"]["small"] == good["fpr 0.01"]["by size"]["100..300"][0] == 1
    assert good["fpr 0.01"]["by size"]["100..300"][1] == 4
    assert bad["auprc"][0] < 0.05
    assert bad["fpr95"][0] > 0.8
    assert bad["fpr 0.01"]["small"] == 0
    # The perfect score's known pixels lie below 0.5: half of the blind ones lie above their highest hundredth.
    assert hard_figures(blind, good) == {"at 95 % TPR": 0.0, "at 1 % FPR": pytest.approx(0.505, abs=0.01)}
    assert hard_figures(perfect, bad)["at 1 % FPR"] == 0.0
