"""Panoptic quality (Eq. 27) of known things, known stuff, all known classes and the unknown.

Kirillov et al., "Panoptic Segmentation", CVPR 2019, with the conventions of its reference code
(https://github.com/cocodataset/panopticapi):

* A predicted and a true segment of the same class match when IoU > 0.5; their union leaves out the part of the
  predicted segment on void pixels.
* Unmatched true segments are misses unless they are crowds; an unmatched predicted segment is false unless more than
  half of it lies on void or on a crowd of its class.
* Per class PQ = sum of matched IoU / (TP + FP/2 + FN/2), SQ = sum / TP, RQ = TP / (TP + FP/2 + FN/2), 0 where TP = 0.
  A group's value is the mean over its classes with TP + FP + FN > 0.
* The unknown is one class of its own, whatever the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.label_set import LabelSet
from m2a_core.types import PANOPTIC_DIVISOR, PANOPTIC_VOID


@dataclass(frozen=True)
class Segments:
    """A panoptic segmentation.

    Attributes:
        ids: integer [H, W], segment id per pixel; an id that is not in ``classes`` is void.
        classes: segment id -> class id.
        crowds: ids of segments that are crowds (only in ground truth).
    """

    ids: np.ndarray
    classes: Mapping[int, int]
    crowds: frozenset[int] = frozenset()

    @staticmethod
    def of_panoptic(panoptic: np.ndarray) -> Segments:
        """Take the segments of an ``OpenSetResult.panoptic``: int32 [H, W], ``class * 256 + instance``, 65535 void."""
        found = [int(i) for i in np.unique(panoptic) if i != PANOPTIC_VOID]
        return Segments(panoptic, {i: i // PANOPTIC_DIVISOR for i in found})


@dataclass
class ClassTally:
    """Matches of one class: sum of matched IoU and numbers of matched, false and missed segments."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0


@dataclass(frozen=True)
class Quality:
    """Panoptic, segmentation and recognition quality, fractions in [0, 1]; NaN where no class of the group occurs."""

    pq: float
    sq: float
    rq: float
    n_classes: int


@dataclass
class PanopticQuality:
    """Accumulates frames with ``update``; ask with ``quality`` or ``summary``."""

    tallies: dict[int, ClassTally] = field(default_factory=dict)

    def update(self, predicted: Segments, truth: Segments) -> None:
        """Add a frame.

        Raises:
            DataError: the sizes differ.
        """
        if predicted.ids.shape != truth.ids.shape:
            raise DataError(
                f"predicted segments are {list(predicted.ids.shape)}, true ones {list(truth.ids.shape)}: "
                "same size needed"
            )
        predicted_ids, p = np.unique(predicted.ids, return_inverse=True)
        truth_ids, t = np.unique(truth.ids, return_inverse=True)
        overlap = np.bincount(t.ravel() * len(predicted_ids) + p.ravel(), minlength=len(truth_ids) * len(predicted_ids))
        overlap = overlap.reshape(len(truth_ids), len(predicted_ids))
        area_p, area_t = overlap.sum(axis=0), overlap.sum(axis=1)
        class_p = [predicted.classes.get(int(i)) for i in predicted_ids]
        class_t = [truth.classes.get(int(i)) for i in truth_ids]
        crowd = [int(i) in truth.crowds for i in truth_ids]
        on_void = overlap[[c is None for c in class_t]].sum(axis=0)

        matched_p, matched_t = set(), set()
        for i, j in np.argwhere(overlap).tolist():
            if class_t[i] is None or class_t[i] != class_p[j] or crowd[i]:
                continue
            iou = overlap[i, j] / (area_p[j] + area_t[i] - overlap[i, j] - on_void[j])
            if iou > 0.5:
                tally = self._tally(class_t[i])
                tally.tp += 1
                tally.iou += float(iou)
                matched_p.add(j)
                matched_t.add(i)
        for i, cls in enumerate(class_t):
            if cls is not None and i not in matched_t and not crowd[i]:
                self._tally(cls).fn += 1
        for j, cls in enumerate(class_p):
            if cls is None or j in matched_p:
                continue
            excused = on_void[j] + sum(
                int(overlap[i, j]) for i in range(len(class_t)) if crowd[i] and class_t[i] == cls
            )
            if excused / area_p[j] <= 0.5:
                self._tally(cls).fp += 1

    def quality(self, classes: Iterable[int]) -> Quality:
        """Mean quality over those of the classes that occur."""
        values = []
        for cls in classes:
            tally = self.tallies.get(cls)
            if tally is None:
                continue
            weight = tally.tp + tally.fp / 2 + tally.fn / 2
            values.append((tally.iou / weight, tally.iou / tally.tp if tally.tp else 0.0, tally.tp / weight))
        if not values:
            return Quality(float("nan"), float("nan"), float("nan"), 0)
        pq, sq, rq = np.mean(values, axis=0).tolist()
        return Quality(pq, sq, rq, len(values))

    def summary(self, labels: LabelSet) -> dict[str, Quality]:
        """Quality of ``things``, ``stuff``, ``known`` and ``unknown`` of a label set (class id K is the unknown)."""
        return {
            "things": self.quality(sorted(labels.things)),
            "stuff": self.quality(sorted(labels.stuff)),
            "known": self.quality(range(labels.num_classes)),
            "unknown": self.quality([labels.unknown_id]),
        }

    def _tally(self, cls: int | None) -> ClassTally:
        assert cls is not None
        return self.tallies.setdefault(cls, ClassTally())
