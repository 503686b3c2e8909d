"""AuPRC and FPR95 with intervals: frames are resampled with replacement (Efron, Annals of Statistics 7, 1979).

Pixels of a frame are not independent draws, frames of a set nearly are: so frames are what is drawn. Scores are binned
by quantiles of a sample, which makes a thousand draws cheap; the exact figures are those of ``metrics.pixel``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2a_core.errors import DataError

BINS = 1024
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, and the middle 95 % of it over the draws."""

    value: float
    low: float
    high: float


class FrameHistograms:
    """Binned scores of known and of anomalous pixels by frame."""

    def __init__(self, sample: np.ndarray) -> None:
        """Choose the bins.

        Args:
            sample: float [N], scores of known and anomalous pixels; their quantiles are the bins' edges. Rare high
                scores matter most, so half of the edges are for the highest twentieth.
        """
        ranks = np.concatenate([np.linspace(0, 0.95, BINS // 2), 1 - np.geomspace(0.05, 1e-7, BINS // 2)])
        self.edges = np.unique(np.quantile(sample, ranks))
        self.known: list[np.ndarray] = []
        self.anomaly: list[np.ndarray] = []

    def add(self, score: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame.

        Args:
            score: float [H, W].
            truth: uint8 [H, W]: 0 known, 1 anomaly, other values are void.
        """
        for store, value in ((self.known, 0), (self.anomaly, 1)):
            bins = np.searchsorted(self.edges, score[truth == value], side="right")
            store.append(np.bincount(bins, minlength=len(self.edges) + 1))

    def threshold(self, fpr: float) -> float:
        """The lowest edge at or above which at most a share ``fpr`` of the known pixels scores.

        Raises:
            DataError: there are no known pixels.
        """
        counts = np.sum(self.known, axis=0)
        if not counts.sum():
            raise DataError("no known pixels to count false alarms on")
        above = np.cumsum(counts[::-1])[::-1] / counts.sum()
        within = np.flatnonzero(above <= fpr)
        if not len(within) or within[0] == 0:
            return float(self.edges[0]) if len(within) else float("inf")
        return float(self.edges[within[0] - 1])

    def figures(self, draws: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """``auprc`` and ``fpr95`` with intervals.

        Args:
            draws: how often the frames are resampled; 0 = no interval, low and high are the value.
            seed: of the draws.

        Raises:
            DataError: there are no known or no anomalous pixels.
        """
        known, anomaly = np.array(self.known, np.float64), np.array(self.anomaly, np.float64)
        if not known.sum() or not anomaly.sum():
            raise DataError("AuPRC and FPR95 need known and anomalous pixels")
        rng = np.random.default_rng(seed)
        frames = len(known)
        weights = rng.multinomial(frames, np.full(frames, 1 / frames), size=draws).astype(np.float64)
        weights = weights[weights @ (anomaly.sum(1) > 0) > 0]
        values = _auprc_fpr95(known.sum(0, keepdims=True), anomaly.sum(0, keepdims=True))
        drawn = _auprc_fpr95(weights @ known, weights @ anomaly)
        result = {}
        for name, (value,), others in zip(("auprc", "fpr95"), values, drawn, strict=True):
            ends = np.quantile(others, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(others) else (value, value)
            result[name] = Interval(float(value), float(ends[0]), float(ends[1]))
        return result


def _auprc_fpr95(known: np.ndarray, anomaly: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of histograms [M, bins] from low to high scores: AuPRC [M], FPR95 [M]."""
    false, true = np.cumsum(known[:, ::-1], 1), np.cumsum(anomaly[:, ::-1], 1)
    recall = true / true[:, -1:]
    precision = true / np.maximum(true + false, 1)
    auprc = (np.diff(recall, axis=1, prepend=0) * precision).sum(1)
    first = (recall >= 0.95 - 1e-12).argmax(1)
    return auprc, false[np.arange(len(false)), first] / np.maximum(false[:, -1], 1)
