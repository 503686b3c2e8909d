"""How many objects are found, by size, at a given rate of false alarms.

Pixel figures are ruled by the largest objects: a frame's thousand pixels of a lorry outweigh the fifty of a lost crate.
Here every object counts once. An object is hit where at least half of its pixels score at or above the threshold at
which a stated share of the known pixels does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.errors import DataError

HIT_SHARE = 0.5


@dataclass(frozen=True)
class ObjectScore:
    """One true object.

    Attributes:
        area: its pixels.
        level: the highest threshold at which it is hit.
    """

    area: int
    level: float


def object_scores(score: np.ndarray, truth: np.ndarray) -> list[ObjectScore]:
    """The objects of one frame: connected components of anomalous pixels.

    Args:
        score: float [H, W], higher = more anomalous.
        truth: uint8 [H, W]: 0 known, 1 anomaly, 255 void.

    Raises:
        DataError: the sizes differ.
    """
    if score.shape != truth.shape:
        raise DataError(f"score map is {list(score.shape)}, its truth {list(truth.shape)}")
    count, numbers = cv2.connectedComponents((truth == 1).astype(np.uint8), connectivity=8)
    found = []
    for number in range(1, count):
        values = np.sort(score[numbers == number])
        # At this value and below, the upper half of the pixels is at or above the threshold.
        found.append(ObjectScore(len(values), float(values[-int(np.ceil(HIT_SHARE * len(values)))])))
    return found


def hit_rate(objects: Sequence[ObjectScore], threshold: float, smallest: float = 0, largest: float = np.inf) -> float:
    """Share of the objects hit at a threshold, of those with ``smallest`` <= area < ``largest``; NaN of none."""
    levels = [o.level for o in objects if smallest <= o.area < largest]
    return float(np.mean([level >= threshold for level in levels])) if levels else float("nan")
