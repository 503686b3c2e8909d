"""AuPRC, FPR95 and AUROC over any number of frames, exactly, in one pass and bounded memory (Eqs. 18-21).

Exact, not binned: every distinct score is its own threshold, and the arithmetic on counts is integer. Definitions:

* AuPRC (average precision) = sum over thresholds t, descending, of (recall(t) - recall(previous)) * precision(t), no
  interpolation, as scikit-learn's ``average_precision_score`` and the Fishyscapes and SMIYC evaluations define it.
* A pixel is predicted anomalous at t when its score is >= t; equal scores enter together.
* FPR95 = false-positive rate at the highest threshold whose true-positive rate is >= 0.95.
* AUROC = probability that an anomalous pixel scores above a known one, ties counting one half.

Only scores that anomalous pixels have can change recall, so the thresholds are the distinct scores of the anomalous
pixels; known pixels are counted below and up to each of them in sorted runs (``metrics.runs``), on disk where memory
ends. The SMIYC code instead bins each frame into at most 768 quantiles: ``metrics.smiyc_curve``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2a_core.errors import DataError
from m2a_core.metrics.runs import RunFile, RunStore, SortedRun

KNOWN, ANOMALY, VOID = 0, 1, 255

BLOCK_VALUES = 1 << 22
"""Distinct thresholds handled at a time."""

_CURVE_POINTS = 512


@dataclass(frozen=True)
class PixelCurve:
    """Thinned points of the PR and ROC curves by descending threshold (float64 [N] each, fractions)."""

    threshold: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    fpr: np.ndarray


@dataclass(frozen=True)
class PixelResult:
    """Pixel metrics of a data set; fractions in [0, 1].

    Attributes:
        auprc, fpr95, auroc: as the module states; NaN where the set has no anomalous or no known pixel.
        tpr95_threshold: the threshold FPR95 is taken at.
        best_f1, best_f1_threshold: the highest pixel F1 of all thresholds, and the highest threshold that reaches it.
        n_anomaly, n_known: pixels counted; void ones are in neither.
        curve: for drawing.
    """

    auprc: float
    fpr95: float
    auroc: float
    tpr95_threshold: float
    best_f1: float
    best_f1_threshold: float
    n_anomaly: int
    n_known: int
    curve: PixelCurve


def split_scores(score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a frame's scores by truth, after checking both.

    Args:
        score: float [H, W], finite, higher = more anomalous; float16 and integers are widened without loss.
        truth: uint8 [H, W]: 0 known, 1 anomaly, 255 void.

    Returns:
        Scores of the anomalous and of the known pixels, float32 or float64 [N]; void pixels are dropped, and may be
        NaN.

    Raises:
        DataError: sizes differ, the truth holds another value, or a pixel that counts is NaN or infinite.
    """
    if score.shape != truth.shape:
        raise DataError(
            f"score map is {list(score.shape)} but its ground truth is {list(truth.shape)}: same size needed"
        )
    anomaly, known = truth == ANOMALY, truth == KNOWN
    if np.count_nonzero(anomaly) + np.count_nonzero(known) + np.count_nonzero(truth == VOID) != truth.size:
        found = sorted(set(np.unique(truth).tolist()) - {KNOWN, ANOMALY, VOID})
        raise DataError(f"ground truth holds {found[:8]}: expected only 0 (known), 1 (anomaly) and 255 (void)")
    if score.dtype not in (np.float32, np.float64):
        score = score.astype(np.float32 if score.dtype == np.float16 else np.float64)
    positive, negative = score[anomaly], score[known]
    bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in (positive, negative))
    if bad:
        raise DataError(f"score map is NaN or infinite at {bad} of its {len(positive) + len(negative)} counted pixels")
    return positive, negative


class PixelMetrics:
    """Streaming accumulator: ``update`` per frame (or ``add_runs``), then ``compute``.

    Args:
        buffer_values: scores of each kind sorted at a time; peak memory stays near 16 bytes each plus 0.4 GB.
        spill_dir: directory for runs beyond the buffer; None = a temporary one, made only when needed.
            It takes up to 4 bytes (float32) per pixel.
    """

    def __init__(self, buffer_values: int = 1 << 26, spill_dir: Path | None = None) -> None:
        """Start empty."""
        self._anomaly = RunStore(buffer_values, None if spill_dir is None else spill_dir / "anomaly")
        self._known = RunStore(buffer_values, None if spill_dir is None else spill_dir / "known")

    def update(self, score: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame; see ``split_scores`` for shapes and errors. A frame that raises adds nothing."""
        positive, negative = split_scores(score, truth)
        self._anomaly.add(positive)
        self._known.add(negative)

    def add_runs(self, anomaly: SortedRun | RunFile, known: SortedRun | RunFile) -> None:
        """Add pixels that are sorted already."""
        self._anomaly.add_run(anomaly)
        self._known.add_run(known)

    def compute(self) -> PixelResult:
        """Compute the metrics of all frames so far; more frames may follow."""
        positives, negatives = self._anomaly.total, self._known.total
        if positives == 0 or negatives == 0:
            nan, none = float("nan"), np.empty(0)
            return PixelResult(nan, nan, nan, nan, nan, nan, positives, negatives, PixelCurve(none, none, none, none))
        tp_before, auprc, twice_wins = 0, 0.0, 0
        fpr95 = tpr95_threshold = float("nan")
        best_f1, best_threshold = -1.0, float("nan")
        points: list[tuple[np.ndarray, ...]] = []
        for values, counts in self._thresholds():
            below = np.zeros(len(values), np.int64)
            up_to = np.zeros(len(values), np.int64)
            for run in self._known.runs():
                less, less_equal = run.below(values)
                below += less
                up_to += less_equal
            twice_wins += _dot(counts, below) + _dot(counts, up_to)
            values, counts, fp = values[::-1], counts[::-1], negatives - below[::-1]
            tp = tp_before + np.cumsum(counts)
            precision, tpr = tp / (tp + fp), tp / positives
            auprc += float(np.sum(counts / positives * precision))
            if np.isnan(fpr95) and tpr[-1] >= 0.95:
                at = int(np.searchsorted(tpr, 0.95))
                fpr95, tpr95_threshold = float(fp[at] / negatives), float(values[at])
            f1 = 2 * tp / (tp + fp + positives)
            at = int(np.argmax(f1))
            if f1[at] > best_f1:
                best_f1, best_threshold = float(f1[at]), float(values[at])
            pick = np.unique(np.linspace(0, len(values) - 1, _CURVE_POINTS).astype(np.int64))
            points.append((values[pick].astype(np.float64), tpr[pick], precision[pick], fp[pick] / negatives))
            tp_before = int(tp[-1])
        curve = PixelCurve(*(np.concatenate(column) for column in zip(*points, strict=True)))
        auroc = twice_wins / (2 * positives * negatives)
        return PixelResult(auprc, fpr95, auroc, tpr95_threshold, best_f1, best_threshold, positives, negatives, curve)

    def _thresholds(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the anomalous pixels' distinct scores, ascending in a block, blocks descending, with their counts."""
        edges = self._block_edges()
        for low, high in zip(edges[-2::-1], edges[:0:-1], strict=True):
            parts = [run.between(low, high) for run in self._anomaly.runs()]
            values = np.concatenate([v for v, _ in parts])
            if not len(values):
                continue
            counts = np.concatenate([c for _, c in parts])
            order = np.argsort(values, kind="stable")
            values, counts = values[order], counts[order]
            starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
            yield values[starts], np.add.reduceat(counts, starts)

    def _block_edges(self) -> list[float]:
        """Cut the score axis so that no block has many more than ``BLOCK_VALUES`` entries."""
        runs = list(self._anomaly.runs())
        stride = max(1, BLOCK_VALUES // (2 * max(1, len(runs))))
        samples = list(heapq.merge(*(np.asarray(run.values[stride - 1 :: stride]).tolist() for run in runs)))
        step = max(1, BLOCK_VALUES // (2 * stride))
        return [-np.inf, *samples[step - 1 :: step], np.inf]


def _dot(counts: np.ndarray, more: np.ndarray) -> int:
    """Scalar product of int64 [N], exact beyond 64 bits, too: so many pairs have the pixels of thousands of frames."""
    low, high = more & 0xFFFF, more >> 16
    return int(np.dot(counts, low)) + (int(np.dot(counts, high)) << 16)
