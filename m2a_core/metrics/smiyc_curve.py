"""The SegmentMeIfYouCan benchmark's own, binned PR curve: it defines the threshold of its component metrics.

Rules, as its evaluation code applies them (https://github.com/SegmentMeIfYouCan/road-anomaly-benchmark, metric
"PixBinaryClass"):

* Each frame has its own bin edges: the union of up to 384 evenly spaced quantiles of its anomalous pixels' scores, up
  to 384 of its known pixels' scores (linear interpolation, so an edge need not be a score), and one edge on either side
  of the range (1 % of the range and at least 0.01 away).
* A pixel counts at an edge when its score is >= that edge. Frames are pooled by sorting all edges, descending, and
  summing what each frame's bin adds; equal edges are one threshold.
* AuPRC, FPR95 and AUROC are those of ``metrics.pixel`` on this curve; the AUROC is trapezoidal.
* The component metrics use the edge of the highest pixel F1 = 2 TP / (2 TP + FP + FN), the highest such edge in a tie.

With more than 384 pixels of either kind in a frame, or several frames, its figures are approximations of the exact ones
(measured: ``docs/evaluation.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_QUANTILES = 384


@dataclass(frozen=True)
class FrameBins:
    """One frame's bins, by descending edge.

    Attributes:
        edges: float64 [N], lower edge of each bin.
        anomaly, known: int64 [N], pixels in ``[edge, next edge)``.
    """

    edges: np.ndarray
    anomaly: np.ndarray
    known: np.ndarray

    @staticmethod
    def of_frame(anomaly: np.ndarray, known: np.ndarray) -> FrameBins:
        """Bin a frame's scores, sorted ascending (float [N] each, at least one in all)."""
        kinds = [scores for scores in (anomaly, known) if len(scores)]
        low, high = min(scores[0] for scores in kinds), max(scores[-1] for scores in kinds)
        margin = np.maximum((high - low) * 1e-2, 1e-2)
        quantiles = [np.quantile(scores, np.linspace(0, 1, min(_QUANTILES, len(scores)))) for scores in kinds]
        edges = np.unique(np.concatenate([[low - margin, high + margin], *quantiles]))
        counts = [np.diff(np.searchsorted(scores, edges))[::-1] for scores in (anomaly, known)]
        return FrameBins(edges[-2::-1], counts[0], counts[1])


@dataclass(frozen=True)
class BinnedResult:
    """The benchmark's pixel figures: fractions in [0, 1]; NaN where a kind of pixel is missing."""

    auprc: float
    fpr95: float
    auroc: float
    best_f1: float
    best_f1_threshold: float


def pooled_curve(frames: Sequence[FrameBins]) -> BinnedResult:
    """Pool the frames' bins as the benchmark does; the order of frames matters only between equal edges."""
    edges = np.concatenate([frame.edges for frame in frames])
    order = np.argsort(edges)[::-1]
    edges = edges[order]
    tp = np.cumsum(np.concatenate([frame.anomaly for frame in frames])[order]).astype(np.float64)
    fp = np.cumsum(np.concatenate([frame.known for frame in frames])[order]).astype(np.float64)
    positives, negatives = tp[-1], fp[-1]
    if positives == 0 or negatives == 0:
        nan = float("nan")
        return BinnedResult(nan, nan, nan, nan, nan)

    # The first edge stays a point of its own even when it repeats, as in the benchmark's code.
    keep = np.concatenate(([0], np.flatnonzero(edges[:-1] != edges[1:]), [len(edges) - 1]))
    tp, fp, edges = tp[keep], fp[keep], edges[keep]
    if tp[0] or fp[0]:
        tp, fp, edges = np.insert(tp, 0, 0), np.insert(fp, 0, 0), np.insert(edges, 0, edges.max() + 1)
    predicted = tp + fp
    precision = np.divide(tp, predicted, out=np.ones_like(tp), where=predicted > 0)
    recall, fpr = tp / positives, fp / negatives
    f1 = 2 * tp / (2 * tp + fp + (positives - tp))
    best = int(np.argmax(f1))
    return BinnedResult(
        auprc=float(np.sum(np.diff(recall) * precision[1:])),
        fpr95=float(fpr[np.searchsorted(recall, 0.95)]),
        auroc=float(np.sum(np.diff(fpr) * (recall[1:] + recall[:-1]) / 2)),
        best_f1=float(f1[best]),
        best_f1_threshold=float(edges[best]),
    )
