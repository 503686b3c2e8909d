"""Component metrics and the binned curve against values of the benchmark's code, and against plain set arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from m2a_core.metrics.component import TAUS, FrameComponents, Track, component_metrics, frame_components
from m2a_core.metrics.pixel import split_scores
from m2a_core.metrics.smiyc_curve import BinnedResult, FrameBins, pooled_curve

from .smiyc_frames import frames

ndimage = pytest.importorskip("scipy.ndimage")

REFERENCE = {
    ("anomaly", None): (0.2683982683982684, 0.18591524782444194, 0.6801668841052403),
    ("obstacle", None): (0.3429292929292929, 0.3707208602426351, 0.6961632005757737),
    ("obstacle", 0.5): (0.29040404040404044, 0.289363552156716, 0.7860100800216175),
}
"""F1*, sIoU and PPV of ``frames()`` by road-anomaly-benchmark at commit 1c7804e; None = its own threshold."""

REFERENCE_CURVE = {
    "auprc": 0.5474964205797819,
    "fpr95": 0.5636292465852202,
    "auroc": 0.8768975641646248,
    "best_f1": 0.5409229779707349,
    "best_f1_threshold": 0.29161255571300615,
}


def benchmark_curve(data: list[tuple[np.ndarray, np.ndarray]]) -> BinnedResult:
    return pooled_curve([FrameBins.of_frame(*(np.sort(part) for part in split_scores(s, t))) for s, t in data])


def components_by_sets(score: np.ndarray, truth: np.ndarray, threshold: float, track: Track) -> tuple[list, list]:
    """sIoU and PPV with pixels as sets, from the printed rules."""

    def pixels(mask: np.ndarray) -> list[set]:
        ids, count = ndimage.label(mask, np.ones((3, 3)))
        return [set(zip(*np.nonzero(ids == i), strict=True)) for i in range(1, count + 1)]

    true = pixels(truth == 1)
    background = truth.size - sum(map(len, true))
    roi = set().union(*[k for k in true if len(k) >= track.min_true])
    if background >= track.min_true:
        roi |= set(zip(*np.nonzero(truth == 0), strict=True))
    predicted = [p & roi for p in pixels((score > threshold) & (truth != 255)) if len(p) >= track.min_predicted]
    predicted = [p for p in predicted if p]
    true = [k for k in true if k <= roi]
    siou = []
    for k in true:
        touching = set().union(*[p for p in predicted if p & k])
        others = set().union(*[other for other in true if other is not k])
        siou.append(len(k & touching) / len((k | touching) - (touching & others)))
    all_true = set().union(*true)
    return siou, [len(p & all_true) / len(p) for p in predicted]


def test_binned_curve_equals_the_benchmark() -> None:
    result = benchmark_curve(frames())
    for name, value in REFERENCE_CURVE.items():
        assert getattr(result, name) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize(("track", "threshold"), REFERENCE)
def test_components_equal_the_benchmark(track: str, threshold: float | None) -> None:
    at = benchmark_curve(frames()).best_f1_threshold if threshold is None else threshold
    result = component_metrics([frame_components(s, t, at, Track(track)) for s, t in frames()])
    assert (result.f1_star, result.siou, result.ppv) == pytest.approx(REFERENCE[track, threshold], abs=1e-12)


@pytest.mark.parametrize("track", list(Track))
@pytest.mark.parametrize("seed", range(4))
def test_components_equal_set_arithmetic(track: Track, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = ndimage.gaussian_filter(rng.normal(size=(60, 70)), 2.5).astype(np.float32)
    truth = (ndimage.gaussian_filter(rng.normal(size=(60, 70)), 3) > 0.12).astype(np.uint8)
    truth[50:, 20:] = 255
    got = frame_components(score, truth, 0.05, track)
    siou, ppv = components_by_sets(score, truth, 0.05, track)
    assert sorted(got.siou) == pytest.approx(sorted(siou), abs=1e-12)
    assert sorted(got.ppv) == pytest.approx(sorted(ppv), abs=1e-12)


def test_components_that_touch_at_a_corner_are_one() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[5:15, 5:15] = truth[15:25, 15:25] = 1
    assert len(frame_components(truth.astype(np.float32), truth, 0.5, Track.OBSTACLE).siou) == 1


def test_a_neighbouring_object_does_not_lower_the_siou() -> None:
    truth = np.zeros((40, 60), np.uint8)
    truth[5:25, 5:25] = truth[5:25, 26:46] = 1
    bridge = truth.astype(np.float32)
    bridge[5:25, 25] = 1
    got = frame_components(bridge, truth, 0.5, Track.OBSTACLE)
    assert got.siou == pytest.approx([400 / 420, 400 / 420])
    assert got.ppv == pytest.approx([800 / 820])


def test_size_limits_are_inclusive() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[0:2, 0:5] = 1  # 10 pixels: counts on the obstacle track
    truth[10:13, 10:13] = 1  # 9 pixels: void
    score = np.zeros((60, 60), np.float32)
    score[30:35, 30:40] = 1  # 50 pixels: counts
    score[50:57, 50:57] = 1  # 49 pixels: dropped
    got = frame_components(score, truth, 0.5, Track.OBSTACLE)
    assert got.siou == (0.0,)
    assert got.ppv == (0.0,)


def test_the_threshold_itself_is_not_predicted() -> None:
    truth = np.zeros((40, 40), np.uint8)
    assert frame_components(np.full((40, 40), 0.5, np.float32), truth, 0.5, Track.OBSTACLE).ppv == ()


def test_frames_are_pooled_by_component_not_averaged_by_frame() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[5:15, 5:15] = truth[25:35, 25:35] = 1
    found = frame_components(truth.astype(np.float32), truth, 0.5, Track.OBSTACLE)
    one = np.zeros((40, 40), np.uint8)
    one[5:15, 5:15] = 1
    missed = frame_components(np.zeros((40, 40), np.float32), one, 0.5, Track.OBSTACLE)
    result = component_metrics([found, missed])
    assert result.siou == pytest.approx(2 / 3)
    assert result.f1_star == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert len(TAUS) == 11


def test_nothing_true_and_nothing_predicted_has_no_value() -> None:
    empty = frame_components(np.zeros((40, 40), np.float32), np.zeros((40, 40), np.uint8), 0.5, Track.ANOMALY)
    result = component_metrics([empty])
    assert np.isnan([result.f1_star, result.siou, result.ppv]).all()


def test_a_component_exactly_at_a_threshold_is_found_and_is_not_false() -> None:
    assert 0.5 in TAUS
    result = component_metrics([FrameComponents(siou=(0.5,), ppv=(0.5,))])
    assert result.f1_star == pytest.approx(np.count_nonzero(np.array(TAUS) <= 0.5) / len(TAUS))
