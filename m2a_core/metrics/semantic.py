"""mIoU of the known classes and open-IoU (Eqs. 25-26).

Open-IoU is the IoU of each known class in a confusion matrix that has the unknown as one more class: a known class
gains a false positive where it covers an unknown object and a false negative where the anomaly threshold took its
pixels away. The mean is over the known classes. With a perfect anomaly segmentation it equals the closed-set IoU.
StreetHazards is scored per town with the threshold of the other one, then averaged by number of images (Sec. 7.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from m2a_core.errors import DataError

_VOID = 255


class Confusion:
    """Pixel counts of truth against prediction.

    Args:
        num_classes: classes 0 .. num_classes-1 in both; for open-IoU the last one is the unknown.
    """

    def __init__(self, num_classes: int) -> None:
        """Start empty."""
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)

    def update(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame.

        Args:
            predicted: uint8 [H, W] of class ids; 255 = no class, counted as a miss.
            truth: uint8 [H, W] of class ids; 255 = void, not counted.

        Raises:
            DataError: the sizes differ or an id is neither a class nor 255.
        """
        n = len(self.counts)
        if predicted.shape != truth.shape:
            raise DataError(
                f"prediction is {list(predicted.shape)}, ground truth {list(truth.shape)}: same size needed"
            )
        for name, ids in (("prediction", predicted), ("ground truth", truth)):
            bad = np.unique(ids[(ids >= n) & (ids != _VOID)])
            if len(bad):
                raise DataError(f"{name} holds class ids {bad[:8].tolist()}: expected 0..{n - 1} or 255 for void")
        counted = truth != _VOID
        columns = np.minimum(predicted[counted], n).astype(np.int64)
        pairs = truth[counted].astype(np.int64) * (n + 1) + columns
        self.counts += np.bincount(pairs, minlength=n * (n + 1)).reshape(n, n + 1)

    def iou(self) -> np.ndarray:
        """IoU per class, float64 [num_classes]; NaN for a class neither true nor predicted anywhere."""
        hit = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - hit
        ratios: np.ndarray = np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)
        return ratios


def mean_iou(iou: np.ndarray) -> float:
    """Mean over the classes that occur; NaN if none does."""
    seen = iou[~np.isnan(iou)]
    return float(seen.mean()) if len(seen) else float("nan")


def open_iou(confusion: Confusion) -> float:
    """Mean open-IoU of the known classes; the confusion's last class is the unknown."""
    return mean_iou(confusion.iou()[:-1])


@dataclass(frozen=True)
class OpenIou:
    """Open-IoU per set and over all, weighted by number of images."""

    per_set: Mapping[str, float]
    overall: float


def weighted_open_iou(per_set: Mapping[str, tuple[float, int]]) -> OpenIou:
    """Average open-IoU over sets.

    Args:
        per_set: set -> (its open-IoU with the threshold chosen on the other set, its number of images).
    """
    counted = [(value, count) for value, count in per_set.values() if count]
    images = sum(count for _, count in counted)
    overall = sum(value * count for value, count in counted) / images if images else float("nan")
    return OpenIou({name: value for name, (value, _) in per_set.items()}, overall)
