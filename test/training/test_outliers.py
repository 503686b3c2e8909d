"""AnomalyMix and the composed validation set."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.composed import compose
from m2a_core.training.data_config import AugmentConfig, BlendConfig
from m2a_core.training.datasets import Cutout, LabelledImage
from m2a_core.training.false_alarms import HardNegatives
from m2a_core.training.outliers import TRAIN_BLEND, AnomalyMix, cut_known_objects, erode_alpha
from m2a_core.training.pasting import paste
from m2a_core.training.targets import IGNORE
from m2a_core.training.transforms import augment
from test.training.synthetic import CAR, ROAD, SIZE, cutout, disc, frames

PLAIN = BlendConfig((0, 0), (0, 0), (0, 0), (0, 0), 0.0, 0.0, 1.0)
"""Pastes pixels as they are, but for the object's brightness."""
RED = (250, 10, 10)
FOOT = (60, 80)


def grey_frame() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full((*SIZE, 3), 90, np.uint8), np.full(SIZE, ROAD, np.uint8), np.zeros(SIZE, bool)


def pasted(value: int | None, blend: BlendConfig = PLAIN, seed: int = 0):
    image, label, outlier = grey_frame()
    paste(image, label, outlier, disc(RED), FOOT, 40, value, blend, np.random.default_rng(seed))
    return image, label, outlier


def test_an_unknown_object_is_an_outlier_and_void_where_it_covers_and_nothing_elsewhere():
    image, label, outlier = pasted(None)
    red = image[..., 0].astype(int) - image[..., 1] > 60
    np.testing.assert_array_equal(outlier, red)
    np.testing.assert_array_equal(label == IGNORE, red)
    rows, columns = np.nonzero(outlier)
    # A disc of 18 px radius on a foot at (60, 80).
    assert abs(rows.max() - 79) <= 2
    assert abs(columns.mean() - 60) <= 1
    assert abs(outlier.sum() - np.pi * 18**2) < 40


def test_a_known_object_keeps_its_label_and_is_no_outlier():
    image, label, outlier = pasted(CAR)
    red = image[..., 0].astype(int) - image[..., 1] > 60
    assert not outlier.any()
    np.testing.assert_array_equal(label == CAR, red)


def test_a_known_object_over_an_unknown_one_takes_its_pixels_back():
    image, label, outlier = pasted(None)
    paste(image, label, outlier, disc(RED), FOOT, 40, CAR, PLAIN, np.random.default_rng(0))
    assert not outlier.any()
    assert (label == CAR).sum() > 1000


def test_half_covered_pixels_are_void_and_no_outlier():
    soft = BlendConfig((0, 0), (0, 0), (1.2, 1.2), (0, 0), 0.0, 0.0, 1.0)
    image, label, outlier = pasted(CAR, soft)
    void = label == IGNORE
    assert 40 < void.sum() < 400
    assert not (void & outlier).any()
    share = np.abs(image.astype(int) - 90).max(-1) / 160
    assert share[label == ROAD].max() < 0.2
    assert share[label == CAR].min() > 0.35


@pytest.mark.parametrize("foot", [(0, 5), (127, 95), (-10, 90), (140, 20), (60, 200)])
def test_objects_over_the_edge_are_cut_or_left_out(foot):
    image, label, outlier = grey_frame()
    paste(image, label, outlier, disc(RED), foot, 40, None, TRAIN_BLEND, np.random.default_rng(1))
    assert image.shape == (*SIZE, 3)
    assert ((label == IGNORE) | ~outlier).all()


def test_known_objects_are_whole_components_with_their_class_and_row():
    source = frames(1)[0]
    car = (source.label == CAR).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(car)
    (found,) = cut_known_objects([source])
    assert found.kind == str(CAR)
    assert found.name == f"{y + h}@f0"
    assert found.rgba.shape == (h, w, 4)
    assert (found.rgba[..., 3] == 255).sum() == car.sum()
    np.testing.assert_array_equal(found.rgba[..., :3], source.image[y : y + h, x : x + w])


def test_objects_cut_by_the_frame_are_no_negatives():
    label = np.full(SIZE, ROAD, np.uint8)
    label[50:70, :30] = CAR
    assert cut_known_objects([LabelledImage("f", "s", np.zeros((*SIZE, 3), np.uint8), label)]) == []


def test_pasted_negatives_keep_their_label_under_every_blend():
    source = frames(2)
    mix = AnomalyMix([], cut_known_objects(source))
    for seed in range(20):
        image, label, outlier = grey_frame()
        mix.add_known(image, label, outlier, 2, np.random.default_rng(seed))
        assert not outlier.any()
        assert set(np.unique(label)) <= {ROAD, CAR, IGNORE}
        changed = np.abs(image.astype(int) - 90).max(-1) > 40
        assert (label == CAR).sum() > 30
        # What stands out is the car, or its soft edge, or its shadow, which is darker.
        bright = changed & (image.min(-1) > 90)
        assert (label[bright] != ROAD).all()


def test_unknown_objects_mark_outliers_as_void_under_every_blend():
    mix = AnomalyMix([cutout("ball", RED)], [])
    for seed in range(20):
        image, label, outlier = grey_frame()
        mix.add_unknown(image, label, outlier, 2, np.random.default_rng(seed))
        assert outlier.any()
        assert (label[outlier] == IGNORE).all()
        red = image[..., 0].astype(int) - image[..., 1:].max(-1) > 60
        assert (label[red] == IGNORE).all()


def test_an_empty_pool_says_what_is_missing():
    mix = AnomalyMix([], [])
    with pytest.raises(DataError, match="no outlier cut-outs"):
        mix.add_unknown(*grey_frame(), 1, np.random.default_rng(0))
    with pytest.raises(DataError, match="no whole car, pedestrian or bicyclist"):
        mix.add_known(*grey_frame(), 1, np.random.default_rng(0))


def test_eroding_takes_one_pixel_off_every_side():
    rgba = np.full((6, 8, 4), 255, np.uint8)
    eroded = erode_alpha(rgba)
    assert (eroded[1:-1, 1:-1, 3] == 255).all()
    assert eroded[..., 3].sum() == 255 * 4 * 6
    assert (eroded[..., :3] == 255).all()


UNSEEN = [cutout("fish", (10, 250, 10)), cutout("crab", (250, 120, 0))]


def test_the_composed_set_is_the_same_every_time_and_another_with_another_seed():
    first, again, other = (compose(frames(3), UNSEEN, seed) for seed in (7, 7, 8))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)
    assert any((a.image != b.image).any() for a, b in zip(first, other, strict=True))


def test_a_composed_frame_does_not_depend_on_the_others():
    everything, alone = compose(frames(4), UNSEEN, 7), compose(frames(4)[2:3], UNSEEN, 7)
    np.testing.assert_array_equal(everything[2].image, alone[0].image)
    np.testing.assert_array_equal(everything[2].label, alone[0].label)


def test_composed_anomalies_are_where_an_object_covers_and_nowhere_else():
    sources = frames(8)
    for source, item in zip(sources, compose(sources, UNSEEN, 7), strict=True):
        change = np.abs(item.image.astype(int) - source.image).max(-1)
        void = source.label == IGNORE
        assert item.name == source.name
        assert set(np.unique(item.label)) <= {0, 1, 255}
        assert (item.label == 1).any()
        assert (change[item.label == 1] > 0).mean() > 0.97
        # Unmarked pixels are covered by a tenth at most; unchanged ones keep their truth, known or void.
        assert change[item.label == 0].max() <= 0.1 * 255 + 2
        np.testing.assert_array_equal(item.label[change == 0] == 255, void[change == 0])


def test_composing_leaves_its_frames_as_they_were():
    sources, before = frames(2), frames(2)
    compose(sources, UNSEEN, 7)
    for a, b in zip(sources, before, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)


def test_photographs_are_more_likely_than_renders():
    photo, render = cutout("ball", RED), Cutout("r", "render", False, disc((0, 0, 250)))
    mix = AnomalyMix([photo, render], [])
    assert mix.weights.tolist() == pytest.approx([1 / 1.4, 0.4 / 1.4])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (24, 300), (300, 5)])
def test_objects_go_into_frames_of_any_size(size):
    objects = [
        Cutout(str(side), "thing", True, np.full((*side, 4), 200, np.uint8)) for side in ((1, 1), (40, 30), (1, 90))
    ]
    blend = BlendConfig(modes=("alpha", "hard", "gaussian", "poisson"), shadow=1.0, on_road=0.5, large=0.3, far=0.5)
    mix = AnomalyMix(objects, [Cutout("5@frame", "8", True, objects[1].rgba)], blend)
    hard = HardNegatives(objects, CAMVID11, {}, (3, 4))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        image, label = np.full((*size, 3), 90, np.uint8), np.full(size, seed % 11, np.uint8)
        outlier = np.zeros(size, bool)
        mix.add_known(image, label, outlier, 2, rng)
        mix.add_unknown(image, label, outlier, 2, rng)
        hard.add(image, label, outlier, blend, rng)
        assert (label[outlier] == IGNORE).all()
        base = ("image", "crop", "height")[seed % 3]
        crop = augment(image, label, outlier, AugmentConfig(crop=(64, 96), scale_base=base), rng)[0]
        assert crop.shape == (64, 96, 3)
