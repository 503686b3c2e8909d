"""mIoU, open-IoU and panoptic quality of a data set, from the files ``evaluation.predict`` wrote.

Frames that cannot be scored are left out, and land by name in the caller's ``failed`` with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from m2a_core.data.base import Dataset, PanopticTruth, Sample
from m2a_core.errors import DataError
from m2a_core.evaluation.predict import Outputs, class_view
from m2a_core.labels.label_set import LabelSet
from m2a_core.metrics.panoptic import PanopticQuality, Segments
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.metrics.semantic import Confusion, mean_iou, open_iou, weighted_open_iou


def semantic_figures(dataset: Dataset, labels: LabelSet, outputs: Outputs, failed: dict[str, str]) -> dict[str, Any]:
    """Closed-set figures over the pixels with a class; fractions.

    Returns:
        ``miou``, ``iou`` per class, ``confusion`` (``classes``, and ``counts`` [K][K+1] of pixels by true and found
        class, the last column for none) and ``class_frames`` (frame -> its own ``miou`` and ``accuracy``).
    """
    view = class_view(labels, dataset)
    confusion, frames = Confusion(len(view.names)), {}
    for sample in _done(dataset, outputs):
        with _named(sample, failed), np.load(outputs.prediction(sample), allow_pickle=False) as maps:
            alone = Confusion(len(view.names))
            alone.update(view.table[maps["semantic"]], dataset.class_truth(sample, view.ids))
            confusion.counts += alone.counts
            if pixels := int(alone.counts.sum()):
                right = float(np.trace(alone.counts)) / pixels
                frames[sample.name] = {"miou": mean_iou(alone.iou()), "accuracy": right}
    iou = confusion.iou()
    return {
        "miou": mean_iou(iou),
        "iou": dict(zip(view.names, iou.tolist(), strict=True)),
        "confusion": {"classes": list(view.names), "counts": confusion.counts.tolist()},
        "class_frames": frames,
    }


def open_iou_figures(dataset: Dataset, labels: LabelSet, outputs: Outputs, failed: dict[str, str]) -> dict[str, Any]:
    """Open-IoU by StreetHazards' cross rule (Sec. 7.4).

    The anomaly threshold of a group is the one at 95 % true-positive rate on all other groups; a pixel at or above it
    is unknown. Of a data set with one group, the threshold is its own. Where there is none, for want of anomalous or of
    known pixels, the figure is NaN.
    """
    view = class_view(labels, dataset)
    unknown = len(view.names)
    groups = sorted({sample.group for sample in dataset.samples})
    result = {}
    thresholds = {}
    for group in groups:
        others = {g for g in groups if g != group} or {group}
        metrics = PixelMetrics()
        for sample in _done(dataset, outputs):
            if sample.group in others:
                with _named(sample, failed), np.load(outputs.prediction(sample), allow_pickle=False) as maps:
                    metrics.update(maps["anomaly"], dataset.anomaly_truth(sample))
        thresholds[group] = metrics.compute().tpr95_threshold
        confusion, images = Confusion(unknown + 1), 0
        for sample in _done(dataset, outputs):
            if sample.group != group:
                continue
            with _named(sample, failed), np.load(outputs.prediction(sample), allow_pickle=False) as maps:
                predicted = np.where(maps["anomaly"] >= thresholds[group], unknown, view.table[maps["semantic"]])
                truth = dataset.class_truth(sample, view.ids)
                truth[dataset.anomaly_truth(sample) == 1] = unknown
                confusion.update(predicted.astype(np.uint8), truth)
                images += 1
        # Nothing reaches a threshold that is no number: that would be the IoU of a closed set.
        result[group] = (open_iou(confusion) if math.isfinite(thresholds[group]) else math.nan, images)
    averaged = weighted_open_iou(result)
    return {"open_iou": averaged.overall, "open_iou_per_set": dict(averaged.per_set), "open_iou_thresholds": thresholds}


def panoptic_figures(dataset: Dataset, labels: LabelSet, outputs: Outputs, failed: dict[str, str]) -> dict[str, Any]:
    """PQ, SQ and RQ of known things, known stuff, all known classes and the unknown; fractions."""
    quality = PanopticQuality()
    for sample in _done(dataset, outputs):
        assert dataset.panoptic is not None
        with _named(sample, failed), np.load(outputs.prediction(sample), allow_pickle=False) as maps:
            predicted = Segments.of_panoptic(maps["panoptic"])
            quality.update(predicted, true_segments(dataset.panoptic(sample), dataset, labels))
    return {"panoptic": {group: vars(value) for group, value in quality.summary(labels).items()}}


def true_segments(truth: PanopticTruth, dataset: Dataset, labels: LabelSet) -> Segments:
    """The true segments in the model's class ids; classes of ``dataset.unknown`` are the unknown.

    Raises:
        DataError: a known class is none of the model's.
    """
    ids = {name: i for i, name in enumerate(labels.names)}
    classes = {}
    for segment in truth.segments:
        if segment.class_name in dataset.unknown:
            classes[segment.id] = labels.unknown_id
        elif segment.class_name in ids:
            classes[segment.id] = ids[segment.class_name]
        else:
            raise DataError(
                f"data set '{dataset.name}': class '{segment.class_name}' is neither unknown nor in the model's label "
                f"set '{labels.name}'"
            )
    return Segments(truth.ids, classes, frozenset(s.id for s in truth.segments if s.crowd))


def _done(dataset: Dataset, outputs: Outputs) -> list[Sample]:
    return [sample for sample in dataset.samples if outputs.prediction(sample).exists() and sample.labels is not None]


@contextmanager
def _named(sample: Sample, failed: dict[str, str]) -> Iterator[None]:
    """Note a frame that cannot be scored, with its file, and go on."""
    try:
        yield
    except DataError as error:
        file, reason = str(sample.labels or sample.image), str(error)
        failed[sample.name] = reason if file in reason else f"{file}: {reason}"
