"""Cityscapes with instances in the packed layout of ``docs/datasets.md``: one image and one 16-bit map a frame."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.labels.label_map import read_stored_values
from m2a_core.labels.label_set import CITYSCAPES19
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE, OWN_CAR

LAYOUT = """\
ROOT/frames.csv                    (columns split, city, name)
ROOT/images/{train,val}/NAME.jpg
ROOT/ids/{train,val}/NAME.png      (16 bits: class 0..18 * 1000 + instance; instance 0 = none; 65535 = void)"""
ASPECT = 2.0
"""Width over height of a Cityscapes frame; packed frames may be stored stretched and are brought back to it."""
VOID = 65535


def packed_cityscapes_sources(root: Path, split: str) -> list[FrameSource]:
    """List the frames of a split.

    Args:
        root: folder in the layout `LAYOUT`.
        split: ``train`` or ``val``.

    Raises:
        DataError: the list is missing or malformed, or has no frame of the split.
    """
    path = root / "frames.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        return [FrameSource(r["name"], functools.partial(_read, root, split, r["name"], r["city"])) for r in rows]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error!r}); expected\n{LAYOUT}") from error


def read_ids(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one 16-bit map.

    Returns:
        Class ids uint8 [H, W], 255 = void, and instance numbers int32 [H, W], unique in the frame, 0 = none.

    Raises:
        DataError: it cannot be read, is not of 16 bits, or holds a class outside 0..18.
    """
    stored = read_stored_values(path)
    if stored.dtype != np.uint16:
        raise DataError(f"{path}: expected a 16-bit map of class * 1000 + instance, got {stored.dtype}")
    classes, instances = stored // 1000, stored % 1000
    void = stored == VOID
    outside = ~void & (classes >= CITYSCAPES19.num_classes)
    if outside.any():
        raise DataError(f"{path}: value {int(stored[outside].max())} is outside 0..18999 and not {VOID}")
    numbers = np.where(void | (instances == 0), 0, stored).astype(np.int32)
    return np.where(void, IGNORE, classes).astype(np.uint8), numbers


def own_car(void: np.ndarray) -> np.ndarray:
    """The bonnet of the camera's car, and the star on it: void that reaches the lower edge.

    Args:
        void: bool [H, W].

    Returns:
        bool [H, W], a part of ``void``.
    """
    wide = cv2.dilate(void.astype(np.uint8), np.ones((9, 9), np.uint8))
    _, numbers = cv2.connectedComponents(wide, connectivity=8)
    below = np.unique(numbers[-1])
    return void & np.isin(numbers, below[below > 0])


def _read(root: Path, split: str, name: str, city: str) -> LabelledImage:
    image = read_image(root / "images" / split / f"{name}.jpg")
    path = root / "ids" / split / f"{name}.png"
    label, instances = read_ids(path)
    if label.shape != image.shape[:2]:
        raise DataError(f"{path}: label is {list(label.shape)}, its image {list(image.shape[:2])}")
    label[own_car(label == IGNORE)] = OWN_CAR
    width = round(ASPECT * image.shape[0])
    if width != image.shape[1]:
        image = cv2.resize(image, (width, image.shape[0]), interpolation=cv2.INTER_LINEAR)
        columns = (np.arange(width) * label.shape[1] // width).astype(np.intp)
        label, instances = label[:, columns], instances[:, columns]
    return LabelledImage(name, city, image, label, instances=instances)
