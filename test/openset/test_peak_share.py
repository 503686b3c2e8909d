"""Unknown instances that reach as far as a share of their own peak."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m2a_core.bundle.manifest import Thresholds
from m2a_core.labels.builtin import CAMVID11
from m2a_core.openset.components import Component, around_peak
from m2a_core.openset.head import OpenSetHead
from m2a_core.preprocess import Letterbox
from m2a_core.types import Output
from test.openset.score_alone import output_of

SIZE = (64, 96)
LIMITS = Thresholds(anomaly=0.5, refined=0.9, extent=0.7, min_area=0.001)


def fading(peak: float) -> np.ndarray:
    """float32 [64, 96]: a score whose log-odds fall off around an object, from ``peak`` in its middle."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    log_odds = peak * np.exp(-((y - 32) ** 2 + (x - 48) ** 2) / (2 * 8**2))
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32)


def area(score: np.ndarray, limits: Thresholds) -> int:
    """Pixels of the one unknown instance."""
    head = OpenSetHead(CAMVID11, limits)
    result = head.compute(output_of(score), Letterbox(SIZE).geometry(*SIZE), frozenset({Output.UNKNOWN_INSTANCES}))
    (instance,) = result.instances
    return instance.area


def test_an_instance_is_as_large_whether_the_network_is_sure_or_very_sure() -> None:
    at_level = [area(fading(peak), LIMITS) for peak in (4.0, 12.0)]
    by_peak = [area(fading(peak), replace(LIMITS, peak_share=0.5)) for peak in (4.0, 12.0)]
    assert at_level[1] > 1.5 * at_level[0]
    assert by_peak[1] == pytest.approx(by_peak[0], rel=0.15)


def test_a_share_of_zero_leaves_instances_as_they_are() -> None:
    component = Component(3, 5, np.ones((4, 6), bool))
    assert around_peak(component, fading(9.0), 0.0) is component


SCORES = arrays(np.float32, (7, 9), elements=st.floats(0, 1, width=32))
MASKS = arrays(bool, (7, 9)).filter(np.any)


@given(SCORES, MASKS, st.floats(0.05, 1))
def test_what_is_left_reaches_the_share_of_the_peak_in_log_odds(
    scores: np.ndarray, mask: np.ndarray, share: float
) -> None:
    left = around_peak(Component(2, 1, mask), np.pad(scores, ((1, 0), (2, 0))), share)
    found = np.zeros_like(mask)
    found[left.y - 1 :, left.x - 2 :][: left.mask.shape[0], : left.mask.shape[1]] = left.mask
    clipped = np.clip(scores.astype(np.float64), 1e-300, 1 - 1e-6)
    log_odds = np.log(clipped) - np.log1p(-clipped)
    peak = np.sort(clipped[mask])[int(0.9 * (mask.sum() - 1))]
    level = share * (np.log(peak) - np.log1p(-peak)) if peak > 0.5 else -np.inf
    clear = abs(log_odds - level) > 1e-3
    np.testing.assert_array_equal((found == (mask & (log_odds >= level)))[clear], True)
    assert left.mask.any()


def test_an_instance_whose_peak_is_far_above_the_seed_stays_one() -> None:
    limits = replace(LIMITS, refined=0.75, peak_share=1.0)
    assert 0 < area(fading(12.0), limits) < area(fading(12.0), replace(limits, peak_share=0.0))
