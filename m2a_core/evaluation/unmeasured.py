"""What a data set was too poor to measure, in words: such figures are undefined, and the run has failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from m2a_core.data.base import Dataset
from m2a_core.evaluation.evaluator import Evaluation


def of_anomalies(evaluation: Evaluation, threshold_given: bool) -> list[str]:
    """Reasons why anomaly figures are undefined: no anomalous or no known pixel in the whole set.

    Normal frames within a set are legal. A set of nothing else measures false alarms, at a given threshold and where no
    void pixel may be meant as an anomaly.
    """
    scored = [record for record in evaluation.records if record.error is None]
    void = sum(record.n_void for record in scored)
    where = f"in {len(scored)} frames" + (" that could be scored" if evaluation.failed else "")
    if evaluation.pixel.n_known == 0:
        return [f"no known pixel (0) {where}: AuPRC, FPR95 and AUROC are undefined"]
    if evaluation.pixel.n_anomaly > 0:
        return []
    if void and not evaluation.failed:
        return [
            f"no anomalous pixel (1) {where}, but {void} void ones (255): nothing is measured. If 255 marks the "
            "anomalies in these masks, store 1 instead"
        ]
    if threshold_given and not void:
        return []
    return [f"no anomalous pixel (1) {where}: nothing is measured; to count false alarms, give --threshold"]


def of_classes(figures: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """Reasons why class figures are undefined: no labelled pixel, or a class of the data set that has none.

    Args:
        figures: with ``confusion``, as ``classes.semantic_figures`` gives it.
        dataset: the data set.
    """
    names = figures["confusion"]["classes"]
    pixels = np.array(figures["confusion"]["counts"]).sum(axis=1)
    if not pixels.sum():
        return ["no pixel has a class: mIoU is undefined"]
    expected = set((dataset.classes or {}).values())
    absent = [name for name, count in zip(names, pixels, strict=True) if not count and name in expected]
    if not absent:
        return []
    known = sum(name in expected for name in names)
    return [
        f"{len(absent)} of {known} classes occur in no labelled pixel, so that mIoU is of the others (and of the "
        f"absent ones that were found): {', '.join(absent)}"
    ]


def of_open_iou(figures: Mapping[str, Any]) -> list[str]:
    """Reasons why open-IoU is undefined: no threshold of a set's, which comes from the frames of the others.

    Args:
        figures: with ``open_iou_thresholds``, as ``classes.open_iou_figures`` gives it.
    """
    without = [name for name, threshold in figures["open_iou_thresholds"].items() if not math.isfinite(threshold)]
    if not without:
        return []
    return [
        f"no threshold for {', '.join(without)}: the frames that it is taken from have no anomalous pixel or no known "
        "one, so that open-IoU is undefined"
    ]


def of_segments(figures: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """Reasons why panoptic figures are undefined: no segment at all, or none of an unknown object.

    Args:
        figures: with ``panoptic``, as ``classes.panoptic_figures`` gives it.
        dataset: the data set.
    """
    groups = {name: quality["n_classes"] for name, quality in figures["panoptic"].items()}
    if not any(groups.values()):
        return ["no segment in the truth: PQ is undefined"]
    if dataset.unknown and not groups.get("unknown"):
        return [f"no segment of an unknown class ({', '.join(sorted(dataset.unknown))}): their PQ is undefined"]
    return []
