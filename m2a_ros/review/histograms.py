"""Per-frame histograms of scores: small enough to keep for every frame, fine enough to resample pooled metrics from.

Scores in [0, 1] are binned by equal steps of their logit, 0.0034 each, so that those close to 0 and close to 1 are told
apart. What binning costs is measured on the very data: a comparison prints its exact pooled figures beside the binned
ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2a_core.errors import DataError
from m2a_core.files import read_array

BINS = 8192
_MAX_BYTES = 1 << 35
"""Of half a million frames."""
_LOGIT_LIMIT = 14.0


def bin_scores(scores: np.ndarray) -> np.ndarray:
    """Counts, int64 [BINS], of scores float [N] in [0, 1], by ascending score."""
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logit = np.log(clipped / (1 - clipped))
    bins = np.clip((logit + _LOGIT_LIMIT) * (BINS / (2 * _LOGIT_LIMIT)), 0, BINS - 1).astype(np.int64)
    counts: np.ndarray = np.bincount(bins, minlength=BINS)
    return counts


@dataclass(frozen=True)
class Pooled:
    """Pixel metrics of binned scores, float64 [...]; NaN where a kind of pixel is missing."""

    auprc: np.ndarray
    fpr95: np.ndarray


def pooled_metrics(anomaly: np.ndarray, known: np.ndarray) -> Pooled:
    """AuPRC and FPR95 of counts [..., BINS] of anomalous and known pixels, by ascending score."""
    tp = np.cumsum(anomaly[..., ::-1], axis=-1, dtype=np.float64)
    fp = np.cumsum(known[..., ::-1], axis=-1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, fpr = tp / tp[..., -1:], fp / fp[..., -1:]
        precision = np.nan_to_num(tp / (tp + fp))
        auprc = np.sum(np.diff(recall, axis=-1, prepend=0.0) * precision, axis=-1)
        at = np.argmax(recall >= 0.95, axis=-1)
        fpr95 = np.take_along_axis(fpr, at[..., None], axis=-1)[..., 0]
    missing = (tp[..., -1] == 0) | (fp[..., -1] == 0)
    return Pooled(np.where(missing, np.nan, auprc), np.where(missing, np.nan, fpr95))


def missed_at(anomaly: np.ndarray, known: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Share of anomalous pixels below the lowest threshold that at most a share ``false`` of the known ones reaches.

    Args:
        anomaly: counts [..., BINS] of anomalous pixels, by ascending score.
        known: the same of known pixels.
        false: float [...], in [0, 1].

    Returns:
        float64 [...]; NaN where a kind of pixel is missing.
    """
    tp, fp = (np.cumsum(of[..., ::-1], axis=-1, dtype=np.float64) for of in (anomaly, known))
    with np.errstate(invalid="ignore", divide="ignore"):
        bins = np.count_nonzero(fp <= np.asarray(false)[..., None] * fp[..., -1:] + 1e-6, axis=-1)[..., None]
        reached = np.where(bins > 0, np.take_along_axis(tp, np.maximum(bins - 1, 0), axis=-1), 0.0)[..., 0]
        missed: np.ndarray = np.where(fp[..., -1] == 0, np.nan, 1 - reached / tp[..., -1])
    return missed


class HistogramFile:
    """Writes and reads histograms of many frames: only the bins that are not empty."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, anomaly: np.ndarray, known: np.ndarray) -> None:
        """Add a frame's scores, float [N] each, of anomalous and of known pixels."""
        counts = np.concatenate([bin_scores(anomaly), bin_scores(known)])
        filled = np.flatnonzero(counts)
        self._parts.append((filled.astype(np.uint16), counts[filled]))

    def save(self, path: Path) -> None:
        """Write an .npz."""
        bins = [part[0] for part in self._parts] or [np.empty(0, np.uint16)]
        counts = [part[1] for part in self._parts] or [np.empty(0, np.int64)]
        lengths = np.array([len(part[0]) for part in self._parts], np.int64)
        with path.open("wb") as file:
            np.savez_compressed(file, bins=np.concatenate(bins), counts=np.concatenate(counts), lengths=lengths)


def load_histograms(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bins (below ``BINS``: anomalous, else known) and counts of every frame.

    Raises:
        DataError: the file cannot be read, or its arrays do not fit together.
    """
    bins, counts, lengths = (read_array(path, key, _MAX_BYTES) for key in ("bins", "counts", "lengths"))
    flat = bins.ndim == counts.ndim == lengths.ndim == 1 and bins.dtype == np.uint16
    whole = counts.dtype == lengths.dtype == np.int64 and not (counts < 0).any() and not (lengths < 0).any()
    if not flat or not whole or not len(bins) == len(counts) == lengths.sum() or (bins >= 2 * BINS).any():
        raise DataError(f"{path}: bins, counts and lengths do not fit together; replay again with --gt or --gt-topic")
    cuts = np.cumsum(lengths)[:-1]
    return list(zip(np.split(bins, cuts), np.split(counts, cuts), strict=True)) if len(lengths) else []
