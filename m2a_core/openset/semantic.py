"""Open-set semantic segmentation and its threshold (Sec. 5, Eq. 16; StreetHazards' cross rule of Sec. 7.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from m2a_core.errors import DataError

ScoredFrame = tuple[np.ndarray, np.ndarray]
"""Score map, float [H, W]; truth, uint8 [H, W]: 0 known, 1 anomaly, anything else ignored."""


def open_set_semantic(semantic: np.ndarray, anomaly: np.ndarray, threshold: float, unknown_id: int) -> np.ndarray:
    """Open-set segmentation (Eq. 16).

    The printed argmax over a label map and a thresholded score has no meaning as such; with the thresholded score as
    a class that beats the known ones wherever it is on, it says: unknown where f reaches the threshold, else g.

    Args:
        semantic: uint8 [H, W], g of Eq. 5.
        anomaly: float [H, W], f of Eq. 7.
        threshold: f from which a pixel is unknown.
        unknown_id: id for those pixels.

    Returns:
        uint8 [H, W].
    """
    reached = (anomaly >= threshold).view(np.uint8)
    # A tenth of the time of NumPy's masked copy.
    result: np.ndarray = cv2.copyTo(np.full_like(semantic, unknown_id), reached, semantic.copy())
    return result


def threshold_at_tpr(frames: Iterable[ScoredFrame], tpr: float = 0.95) -> float:
    """The highest threshold t at which ``score >= t`` finds the wanted share of anomalous pixels, pooled over frames.

    Exact; only the anomalous pixels' scores are held.

    Args:
        frames: score maps with their truth.
        tpr: wanted true-positive rate, in (0, 1].

    Returns:
        The threshold; one of the anomalous pixels' scores.

    Raises:
        DataError: no frame has an anomalous pixel, a score is NaN, or a score map and its truth differ in size.
    """
    found = []
    for i, (score, truth) in enumerate(frames):
        if score.shape != truth.shape:
            raise DataError(f"frame {i}: scores {list(score.shape)} and truth {list(truth.shape)} must agree in size")
        found.append(score[truth == 1])
    positives = np.concatenate(found) if found else np.empty(0)
    if positives.size == 0 or np.isnan(positives).any():
        what = "a score is NaN" if positives.size else f"none of {len(found)} frames has an anomalous pixel (truth 1)"
        raise DataError(f"threshold at TPR {tpr}: {what}")
    count = math.ceil(tpr * positives.size)
    if (count - 1) / positives.size >= tpr:  # tpr * size came out a rounding error above a whole number
        count -= 1
    return float(np.partition(positives, positives.size - count)[positives.size - count])


def cross_thresholds(folds: Mapping[str, Iterable[ScoredFrame]], tpr: float = 0.95) -> dict[str, float]:
    """Thresholds for two folds, each chosen on the other one (StreetHazards: t5 uses t6's, t6 uses t5's).

    Args:
        folds: two folds by name.
        tpr: wanted true-positive rate, in (0, 1].

    Returns:
        For each fold's name, the threshold to use on it.

    Raises:
        DataError: not two folds; or see ``threshold_at_tpr``.
    """
    if len(folds) != 2:
        raise DataError(f"cross thresholds: expected 2 folds, got {sorted(folds)}")
    first, second = folds
    return {second: threshold_at_tpr(folds[first], tpr), first: threshold_at_tpr(folds[second], tpr)}
