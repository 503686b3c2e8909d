"""Hard negatives: flat things on the road and text, which leave labels alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.training.config import AugmentConfig
from m2a_core.training.hard_negatives import mark_road, write_text
from m2a_core.training.transforms import augment
from test.training.synthetic import ROAD, draw_frame

PLAIN = AugmentConfig(
    crop=(96, 128),
    scale=(1.0, 1.0),
    scale_base="height",
    aspect=1.0,
    flip=0,
    rare_crop=0,
    letterbox=0,
    color=0,
    degrade=0,
)


@given(st.integers(0, 10_000))
def test_marks_change_road_pixels_alone(seed):
    image, label = draw_frame(0)
    before = image.copy()
    marked = mark_road(image, label, np.random.default_rng(seed), ROAD)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(marked[label != ROAD], image[label != ROAD])


def test_marks_are_seen_on_most_frames():
    image, label = draw_frame(0)
    changed = [(mark_road(image, label, np.random.default_rng(i), ROAD) != image).any() for i in range(20)]
    assert sum(changed) >= 15


def test_a_frame_without_road_stays_as_it_is():
    image, label = draw_frame(0)
    np.testing.assert_array_equal(mark_road(image, label, np.random.default_rng(0), 200), image)


def test_text_changes_some_pixels_and_not_the_image_it_was_given():
    image, _ = draw_frame(0)
    before = image.copy()
    changed = [(write_text(image, np.random.default_rng(i)) != image).any(-1).mean() for i in range(20)]
    np.testing.assert_array_equal(image, before)
    assert 0 < np.median(changed) < 0.5


def test_marks_and_text_leave_labels_and_outliers_alone():
    image, label = draw_frame(0)
    outlier = np.zeros(label.shape, bool)
    drawn = AugmentConfig(**{**PLAIN.__dict__, "road_marks": 1.0, "text": 1.0})
    pairs = [augment(image, label, outlier, cfg, np.random.default_rng(3)) for cfg in (PLAIN, drawn)]
    assert (pairs[0][0] != pairs[1][0]).any()
    np.testing.assert_array_equal(pairs[0][1], pairs[1][1])
    np.testing.assert_array_equal(pairs[0][2], pairs[1][2])
