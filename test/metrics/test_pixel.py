"""Pixel metrics against scikit-learn, over every way the accumulator stores its scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.metrics import pixel
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.metrics.runs import RunFile, SortedRun

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def oracle(frames: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float, float]:
    """AuPRC, FPR95, AUROC and best F1 of all counted pixels at once."""
    score = np.concatenate([s[t < 255].astype(np.float64) for s, t in frames])
    truth = np.concatenate([t[t < 255] for _, t in frames])
    fpr, tpr, _ = sklearn_metrics.roc_curve(truth, score, drop_intermediate=False)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(truth, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    auprc = sklearn_metrics.average_precision_score(truth, score)
    return auprc, fpr[np.searchsorted(tpr, 0.95)], sklearn_metrics.roc_auc_score(truth, score), f1.max()


def make_frames(
    kind: str, count: int = 5, dtypes: tuple[type, ...] = (np.float32,)
) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    frames = []
    for i in range(count):
        truth = rng.choice(np.array([0, 1, 255], np.uint8), p=[0.85, 0.1, 0.05], size=(30, 40))
        score = rng.normal(size=truth.shape) + (truth == 1)
        if kind == "ties":
            score = np.round(score, 1)
        if kind == "saturated":
            score = np.clip(score, -0.2, 0.8)
        frames.append((score.astype(dtypes[i % len(dtypes)]), truth))
    return frames


def measure(metrics: PixelMetrics, frames: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float, float]:
    for score, truth in frames:
        metrics.update(score, truth)
    result = metrics.compute()
    return result.auprc, result.fpr95, result.auroc, result.best_f1


@pytest.mark.parametrize("kind", ["continuous", "ties", "saturated"])
@pytest.mark.parametrize("buffer_values", [1 << 20, 333])
@pytest.mark.parametrize("block", [1 << 22, 64])
def test_equals_scikit_learn(kind: str, buffer_values: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel, "BLOCK_VALUES", block)
    frames = make_frames(kind)
    assert measure(PixelMetrics(buffer_values), frames) == pytest.approx(oracle(frames), abs=1e-12)


def test_mixed_precisions_keep_every_score_apart() -> None:
    frames = make_frames("continuous", 6, (np.float16, np.float64, np.float32))
    assert measure(PixelMetrics(700), frames) == pytest.approx(oracle(frames), abs=1e-12)


def test_double_scores_closer_than_single_precision_are_told_apart() -> None:
    score = np.array([[1.0, 1.0 + 1e-12]])
    metrics = PixelMetrics()
    metrics.update(score, np.array([[0, 1]], np.uint8))
    assert metrics.compute().auprc == 1.0
    metrics = PixelMetrics()
    metrics.update(score.astype(np.float32), np.array([[0, 1]], np.uint8))
    assert metrics.compute().auprc == 0.5


def test_repeated_scores_are_stored_once_in_the_files(tmp_path: Path) -> None:
    metrics = PixelMetrics(1000, tmp_path)
    frames = make_frames("ties", 4)
    assert measure(metrics, frames) == pytest.approx(oracle(frames), abs=1e-12)
    continuous = PixelMetrics(1000, tmp_path / "continuous")
    measure(continuous, make_frames("continuous", 4))
    written = sorted((tmp_path / "continuous" / "known").glob("*.npy"))
    assert written
    assert not list((tmp_path / "known").glob("*.npy"))


def test_runs_written_by_others_count_as_frames_do(tmp_path: Path) -> None:
    frames = make_frames("ties", 3)
    metrics = PixelMetrics()
    for i, (score, truth) in enumerate(frames):
        for name, kind in (("anomaly", 1), ("known", 0)):
            SortedRun.of_sorted(np.sort(score[truth == kind])).save(tmp_path / f"{name}-{i}")
        metrics.add_runs(RunFile(tmp_path / f"anomaly-{i}"), RunFile(tmp_path / f"known-{i}"))
    result = metrics.compute()
    assert (result.auprc, result.fpr95, result.auroc) == pytest.approx(oracle(frames)[:3], abs=1e-12)
    assert result.n_anomaly == sum(int((t == 1).sum()) for _, t in frames)
    assert result.n_known == sum(int((t == 0).sum()) for _, t in frames)


def test_pairs_of_more_pixels_than_64_bits_count_are_counted() -> None:
    """Some twenty thousand frames of two megapixels, scored in few steps."""
    many = 5_000_000_000
    metrics = PixelMetrics()
    values = np.array([0.25, 0.75], np.float32)
    metrics.add_runs(
        SortedRun(values, np.array([many, 3 * many]), 4 * many), SortedRun(values, np.array([6 * many, many]), 7 * many)
    )
    # A known pixel below counts one, one at the same score a half.
    pairs = 6 / 2 + 3 * (6 + 1 / 2)
    assert metrics.compute().auroc == pytest.approx(pairs / (4 * 7), abs=1e-12)


def test_frames_without_anomaly_count_as_false_positives() -> None:
    frames = make_frames("continuous", 2)
    empty = (frames[1][0], np.zeros_like(frames[1][1]))
    both = [frames[0], empty]
    assert measure(PixelMetrics(), both) == pytest.approx(oracle(both), abs=1e-12)
    assert oracle(both)[0] < oracle(frames[:1])[0]


def test_a_set_without_anomaly_has_no_value() -> None:
    metrics = PixelMetrics()
    metrics.update(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8))
    result = metrics.compute()
    assert np.isnan([result.auprc, result.fpr95, result.auroc]).all()
    assert (result.n_anomaly, result.n_known) == (0, 6)


def test_the_threshold_at_95_percent_gives_the_reported_rate() -> None:
    frames = make_frames("continuous")
    metrics = PixelMetrics()
    measure(metrics, frames)
    result = metrics.compute()
    score = np.concatenate([s[t < 255] for s, t in frames])
    truth = np.concatenate([t[t < 255] for _, t in frames])
    assert np.mean(score[truth == 0] >= result.tpr95_threshold) == pytest.approx(result.fpr95)
    above = score[truth == 1] >= result.tpr95_threshold
    assert above.mean() >= 0.95
    assert (above.sum() - 1) / len(above) < 0.95


def test_not_a_number_is_refused_where_it_counts_only() -> None:
    score, truth = np.zeros((2, 2), np.float32), np.array([[0, 1], [255, 0]], np.uint8)
    score[1, 0] = np.nan
    PixelMetrics().update(score, truth)
    score[0, 0] = np.inf
    with pytest.raises(DataError, match="NaN or infinite at 1 of its 3"):
        PixelMetrics().update(score, truth)


def test_sizes_and_truth_values_are_checked() -> None:
    with pytest.raises(DataError, match=r"\[2, 3\].*\[3, 2\]"):
        PixelMetrics().update(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8))
    with pytest.raises(DataError, match=r"holds \[2\]"):
        PixelMetrics().update(np.zeros((1, 2), np.float32), np.array([[0, 2]], np.uint8))
