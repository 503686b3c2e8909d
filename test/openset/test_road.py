"""The road's hull, the prior that it makes of a score, and what stands on it."""

from __future__ import annotations

import numpy as np
import pytest

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.manifest import Thresholds
from m2a_core.labels.builtin import CAMVID11
from m2a_core.openset.head import OpenSetHead
from m2a_core.openset.road import MARGIN, road_hull, road_prior, stands_on
from m2a_core.preprocess import Letterbox
from m2a_core.types import ALL_OUTPUTS, Output
from test.openset.test_head import network_output

ROAD, TREE = 3, 5
SIZE = (200, 400)


def semantic() -> np.ndarray:
    """A road in the lower right, with a hole that something hides, and a small false one far left."""
    ids = np.full(SIZE, TREE, np.uint8)
    ids[100:, 200:] = ROAD
    ids[120:160, 280:320] = TREE
    ids[10:14, 10:14] = ROAD
    return ids


def test_the_prior_is_one_on_the_hull_and_falls_beside_it() -> None:
    prior = road_prior(road_hull(semantic(), ROAD), SIZE)
    assert prior.shape == SIZE
    assert prior.dtype == np.float32
    # The hole that an object makes is road, too.
    assert (prior[100:, 200:] == 1).all()
    assert prior[150, 200 - int(MARGIN * SIZE[0])] == 1
    beside = prior[150, :200]
    assert (np.diff(beside) >= 0).all()
    assert prior[12, 12] == pytest.approx(0.2)


def test_without_a_road_nothing_is_lowered() -> None:
    assert road_hull(np.full(SIZE, TREE, np.uint8), ROAD) is None
    assert road_hull(semantic(), None) is None
    assert (road_prior(None, SIZE) == 1).all()


@pytest.mark.parametrize(
    ("point", "on"), [((300, 140), True), ((196, 150), True), ((150, 150), False), ((12, 12), False)]
)
def test_what_stands_on_the_road_or_close_to_it(point, on) -> None:
    hull = road_hull(semantic(), ROAD)
    assert hull is not None
    assert stands_on(hull, point, SIZE[0]) is on


def test_instances_say_whether_they_stand_on_the_road_and_only_refined_road_is_lowered() -> None:
    size = (64, 96)
    b = np.zeros(size, np.float32)
    b[40:48, 60:80] = 0.9
    b[8:16, 8:24] = 0.9
    net = network_output(b, b)
    net.semantic[:] = TREE
    net.semantic[32:, 40:] = ROAD
    head = OpenSetHead(CAMVID11, Thresholds(anomaly=0.5, refined=0.5, min_area=0.001), decision=Decision.BACKGROUND)
    for factor in (1, 2):
        image = (factor * size[0], factor * size[1])
        result = head.compute(net, Letterbox(size).geometry(*image), ALL_OUTPUTS)
        found = {item.bbox[0] // factor: item.on_road for item in result.instances}
        assert found == {60: True, 8: False}
        np.testing.assert_array_equal(result.refined, result.score)
        y, x = 44 * factor, 70 * factor
        assert result.refined_road[y, x] == result.refined[y, x]
        assert result.refined_road[12 * factor, 16 * factor] < 0.3 * result.refined[12 * factor, 16 * factor]


def test_no_score_is_raised_off_the_road() -> None:
    # f falls below 0 where the claims of several queries add up to more than 1: what is surest to be known.
    net = network_output(np.linspace(-0.8, 0.8, 64 * 96, dtype=np.float32).reshape(64, 96)[::-1].copy())
    net.semantic[:] = TREE
    net.semantic[48:, 80:] = ROAD
    head = OpenSetHead(CAMVID11, Thresholds(anomaly=0.5, refined=0.5))
    result = head.compute(net, Letterbox((64, 96)).geometry(64, 96), ALL_OUTPUTS)
    assert (result.refined_road <= result.refined).all()
    assert (result.refined_road < result.refined).any()
    assert (result.refined < -0.1).any()


def test_refined_road_is_computed_alone_when_it_alone_is_wanted() -> None:
    net = network_output(np.full((64, 96), 0.4, np.float32))
    head = OpenSetHead(CAMVID11, Thresholds(anomaly=0.5, refined=0.5))
    result = head.compute(net, Letterbox((64, 96)).geometry(64, 96), frozenset({Output.REFINED_ROAD}))
    # Road everywhere.
    np.testing.assert_array_equal(result.refined_road, net.refined)
    assert result.refined is None
