"""Data sets by the name that ``m2a evaluate --dataset`` takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from m2a_core.data import anomaly, classes
from m2a_core.data.base import Dataset
from m2a_core.data.own.folder import LAYOUT
from m2a_core.data.own.measuring import measured_set
from m2a_core.data.own.opening import CLASSES, open_own
from m2a_core.data.packed_cityscapes import packed_cityscapes
from m2a_core.errors import ConfigError, DataError


def _folder(root: Path) -> Dataset:
    """Own classes where ROOT says what they are, else anomalies."""
    return _own(root) if (root / CLASSES).is_file() else anomaly.folder(root)


def _own(root: Path, kind: str = "folder", classes: str = CLASSES) -> Dataset:
    if classes == CLASSES and not (root / CLASSES).is_file():
        raise DataError(f"{root}: no {CLASSES} in it; expected\n{LAYOUT}")
    return measured_set(open_own(root, kind, classes, Path()))


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "road_anomaly": anomaly.road_anomaly,
    "lost_and_found": anomaly.lost_and_found,
    "fishyscapes_laf": anomaly.fishyscapes_laf,
    "fishyscapes_static": anomaly.fishyscapes_static,
    "smiyc_anomaly": partial(anomaly.smiyc, track="anomaly"),
    "smiyc_obstacle": partial(anomaly.smiyc, track="obstacle"),
    "streethazards": classes.streethazards,
    "cityscapes": classes.cityscapes,
    "cityscapes_640": packed_cityscapes,
    "camvid": classes.camvid,
    "coco_panoptic": classes.coco_panoptic,
    "coco_panoptic_k5": partial(classes.coco_panoptic, percent_unknown=5),
    "coco_panoptic_k10": partial(classes.coco_panoptic, percent_unknown=10),
    "coco_panoptic_k20": partial(classes.coco_panoptic, percent_unknown=20),
    "folder": _folder,
    "own": _own,
}


def open_dataset(name: str, root: Path, **own: str) -> Dataset:
    """Open a data set.

    Args:
        name: one of ``DATASETS``.
        root: its folder, laid out as distributed.
        own: of ``own``: ``kind`` (the format) and ``classes`` (their file), where they are not the usual ones.

    Raises:
        ConfigError: the name is unknown, or own classes do not fit.
        DataError: the folder or a part of it is missing; the message shows the expected layout.
    """
    if name not in DATASETS:
        raise ConfigError(f"data set '{name}': expected one of {', '.join(DATASETS)}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --root is where data set '{name}' lies")
    return _own(root, **own) if own else DATASETS[name](root)
