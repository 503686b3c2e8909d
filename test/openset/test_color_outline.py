"""Outlines of small unknown instances that the image's colors draw."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import multivariate_normal
from sklearn.metrics import average_precision_score

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds
from m2a_core.labels.builtin import CAMVID11
from m2a_core.openset.color_outline import MOST, NOISE, fit_normal, outline_by_color, part_of
from m2a_core.openset.components import Component, find_components
from m2a_core.openset.head import OpenSetHead
from m2a_core.preprocess import Geometry, Letterbox
from m2a_core.types import Output, UnknownInstance
from test.openset.score_alone import output_of

SIZE = (96, 144)
IMAGE_SIZE = (192, 288)
WHOLE = Letterbox(SIZE).geometry(*IMAGE_SIZE)
LIMITS = Thresholds(anomaly=0.5, refined=0.9, extent=0.7, min_area=0.0005, color_area=0.05)


def discs(*places: tuple[int, int], radius: int = 12) -> np.ndarray:
    """bool [192, 288]: discs around x, y of the image."""
    drawn = np.zeros(IMAGE_SIZE, np.uint8)
    for place in places:
        cv2.circle(drawn, place, radius, 1, -1)
    return drawn.astype(bool)


def picture(objects: np.ndarray, color: tuple[int, int, int] = (150, 60, 40)) -> np.ndarray:
    """uint8 [192, 288, 3]: gray asphalt with noise, objects in a color."""
    noise = np.random.default_rng(3).normal(0, 6, (*IMAGE_SIZE, 3))
    return np.clip(np.where(objects[..., None], color, (95, 95, 100)) + noise, 0, 255).astype(np.uint8)


def coarse_score(objects: np.ndarray) -> np.ndarray:
    """float32 [96, 144]: a score as cells of 8 pixels of the maps give it, shifted against the object."""
    cells = cv2.resize(np.roll(objects, 5, 1).astype(np.float32), (18, 12), interpolation=cv2.INTER_AREA)
    log_odds = 14 * cv2.resize(cells, SIZE[::-1], interpolation=cv2.INTER_LINEAR) - 4
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32)


def iou(component: Component, objects: np.ndarray) -> float:
    found = np.zeros(SIZE, np.uint8)
    found[component.window][component.mask] = 1
    at_image = WHOLE.undo_labels(found).astype(bool)
    return float((at_image & objects).sum() / (at_image | objects).sum())


def instances(objects: np.ndarray, limits: Thresholds, image: np.ndarray | None) -> tuple[UnknownInstance, ...]:
    head = OpenSetHead(CAMVID11, limits)
    wanted = frozenset({Output.UNKNOWN_INSTANCES})
    return head.compute(output_of(coarse_score(objects)), WHOLE, wanted, image=image).instances


def test_an_outline_of_mask_cells_becomes_that_of_the_object() -> None:
    objects = discs((120, 90))
    score = coarse_score(objects)
    (before,) = find_components(score >= 0.7)
    (after,) = outline_by_color([before], score, picture(objects), WHOLE, largest=1000).components
    assert iou(before, objects) < 0.7
    assert iou(after, objects) > 0.9


def test_the_score_falls_off_where_the_object_does() -> None:
    objects = discs((120, 90))
    score = coarse_score(objects)
    outlines = outline_by_color(find_components(score >= 0.7), score, picture(objects), WHOLE, largest=1000)
    sharpened = outlines.sharpened(score)
    at_image = [WHOLE.undo_continuous(s).ravel() for s in (score, sharpened)]
    before, after = (average_precision_score(objects.ravel(), s) for s in at_image)
    assert before < 0.9
    assert after > 0.97


def test_the_order_of_an_images_channels_does_not_matter() -> None:
    objects = discs((120, 90), (60, 40))
    score = coarse_score(objects)
    components = find_components(score >= 0.7)
    image = picture(objects)
    drawn = (outline_by_color(components, score, i, WHOLE, 1000).components for i in (image, image[..., ::-1].copy()))
    for one, other in zip(*drawn, strict=True):
        assert one.window == other.window
        np.testing.assert_array_equal(one.mask, other.mask)


def test_colors_that_say_nothing_leave_the_outline_to_the_score() -> None:
    objects = discs((120, 90))
    score = coarse_score(objects)
    (before,) = find_components(score >= 0.7)
    gray = np.full((*IMAGE_SIZE, 3), 90, np.uint8)
    (after,) = outline_by_color([before], score, gray, WHOLE, 1000).components
    log_odds = np.log(score / (1 - score))
    half = log_odds > 0.5 * np.quantile(log_odds[before.window][before.mask], 0.9)
    found = np.zeros(SIZE, bool)
    found[after.window][after.mask] = True
    assert (found ^ half).sum() <= 0.1 * half.sum()


def test_objects_above_the_limit_and_beyond_the_first_ones_stay_as_they_are() -> None:
    places = [(20 + 40 * (n % 7), 25 + 60 * (n // 7)) for n in range(20)]
    objects = discs(*places, radius=8)
    score = coarse_score(objects)
    components = find_components(score >= 0.7)
    drawn = outline_by_color(components, score, picture(objects), WHOLE, 1000).components
    assert sum(a is not b for a, b in zip(components, drawn, strict=True)) == MOST < len(components)
    untouched = outline_by_color(components, score, picture(objects), WHOLE, 5)
    assert untouched.components == components
    assert untouched.sharpened(score) is score


def test_the_head_draws_small_instances_by_an_image_only() -> None:
    objects = discs((120, 90))
    by_score, by_color, without, off = (
        instances(objects, limits, image)
        for limits, image in (
            (replace(LIMITS, color_area=0.0), picture(objects)),
            (LIMITS, picture(objects)),
            (LIMITS, None),
            (replace(LIMITS, color_area=0.001), picture(objects)),
        )
    )
    true_box = (108, 78, 133, 103)
    assert by_score[0].bbox != pytest.approx(true_box, abs=3)
    assert by_color[0].bbox == pytest.approx(true_box, abs=2)
    for same in (without, off):
        np.testing.assert_array_equal(same[0].contour, by_score[0].contour)


@pytest.mark.parametrize("reach", [86, 90])
def test_a_candidate_that_an_instance_grew_over_is_one_object_with_it(reach: int) -> None:
    score = np.full(SIZE, 0.02, np.float32)
    score[40:60, 60:reach] = 0.97
    score[40:60, 60:78], score[40:60, 78:80] = 0.999, 0.6
    image = np.full((*SIZE, 3), 95, np.uint8)
    image[40:60, 60:reach] = (150, 60, 40)
    limits = replace(LIMITS, refined=0.99, extent=0.9, peak_share=0.5)
    head = OpenSetHead(CAMVID11, limits, low_threshold=0.955, decision=Decision.BACKGROUND)
    wanted = frozenset({Output.UNKNOWN_INSTANCES, Output.SCORE})
    result = head.compute(output_of(score), Letterbox(SIZE).geometry(*SIZE), wanted, image=image)
    (instance,) = result.instances
    assert instance.area > 360
    assert result.score is not None
    assert result.unknown_instances is not None
    mean = result.score[result.unknown_instances == 1].mean()
    assert instance.score == pytest.approx(mean)
    assert result.candidates == ()


@pytest.mark.parametrize("size", [(24, 36), (40, 60), (96, 144), (200, 300)])
def test_colors_are_looked_up_where_they_are_whatever_the_images_size(size: tuple[int, int]) -> None:
    ramp = np.linspace(0, 250, size[1])[None, :, None].repeat(size[0], 0).repeat(3, 2).astype(np.uint8)
    geometry = Geometry(size, SIZE, (SIZE[0] / size[0], SIZE[1] / size[1]))
    rows, cols = slice(31, 62), slice(45, 96)
    sampling = cv2.INTER_LINEAR if size < SIZE else cv2.INTER_AREA
    whole = cv2.resize(ramp, SIZE[::-1], interpolation=sampling)
    np.testing.assert_allclose(part_of(ramp, geometry, rows, cols), whole[rows, cols], atol=250 / 144 + 1)


def test_densities_are_those_of_normal_distributions() -> None:
    colors = picture(discs((120, 90))).astype(np.float32)
    samples = [colors[discs((120, 90))], colors[~discs((120, 90))]]
    for seen in samples:
        covariance = np.cov(seen.T.astype(np.float64), bias=True) + NOISE * np.eye(3)
        want = multivariate_normal(seen.mean(0), covariance).logpdf(colors)
        np.testing.assert_allclose(fit_normal(seen).log_density(colors), want, rtol=1e-4, atol=1e-3)


def test_feet_as_dark_as_what_is_behind_an_object_are_told_from_the_ground() -> None:
    objects = np.zeros(IMAGE_SIZE, bool)
    objects[70:100, 100:136] = True
    objects[100:114, 102:110] = objects[100:114, 126:134] = True
    image = np.full((*IMAGE_SIZE, 3), 190, np.uint8)
    image[:84] = 30
    image[70:100, 100:136] = (60, 120, 160)
    image[100:114][objects[100:114]] = 30
    score = coarse_score(objects)
    (after,) = outline_by_color(find_components(score >= 0.7), score, image, WHOLE, 2000).components
    found = np.zeros(SIZE, np.uint8)
    found[after.window][after.mask] = 1
    foot = np.flatnonzero(WHOLE.undo_labels(found).any(1)).max()
    assert foot == pytest.approx(113, abs=2)


def test_a_part_of_another_color_that_the_score_covers_is_kept() -> None:
    body, part = discs((120, 90)), np.zeros(IMAGE_SIZE, bool)
    part[100:108, 112:128] = True
    image = picture(body)
    image[part & ~body] = (20, 60, 160)
    objects = body | part
    score = coarse_score(objects)
    (before,) = find_components(score >= 0.7)
    (after,) = outline_by_color([before], score, image, WHOLE, 1000).components
    assert iou(after, objects) > 0.9 > iou(before, objects)


SMALL = (24, 32)


@given(
    arrays(np.float32, SMALL, elements=st.floats(0, 1, width=32)),
    arrays(np.uint8, (31, 41, 3)),
    arrays(bool, SMALL, elements=st.sampled_from([False, False, True])).filter(np.any),
)
def test_whatever_the_image_instances_stay_apart_and_inside(
    score: np.ndarray, image: np.ndarray, mask: np.ndarray
) -> None:
    geometry = Geometry((31, 41), SMALL, (24 / 31, 32 / 41))
    components = find_components(mask)
    outlines = outline_by_color(components, score, image, geometry, mask.size)
    drawn, sharpened = outlines.components, outlines.sharpened(score)
    assert len(drawn) == len(components)
    seen = np.zeros(SMALL, int)
    for component in drawn:
        assert component.mask.any()
        assert component.mask.shape == seen[component.window].shape
        seen[component.window] += component.mask
    assert seen.max() == 1
    inside = seen.astype(bool)
    assert ((sharpened >= score) | ~inside).all()
    assert ((sharpened <= score) | inside).all()
    boxes = np.zeros(SMALL, np.uint8)
    for component in components:
        boxes[component.window] = 1
    reach = cv2.dilate(boxes, np.ones((17, 17), np.uint8)) > 0
    np.testing.assert_array_equal(sharpened[~reach], score[~reach])
