"""Cityscapes with instances in a packed layout: one image and one 16-bit map a frame. Layout: ``docs/datasets.md``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from m2a_core.data.base import Dataset, PanopticTruth, Sample, Segment
from m2a_core.errors import DataError, shown
from m2a_core.files import relative_path
from m2a_core.images import read_image
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.labels.label_map import VOID, read_stored_values

LAYOUT = """\
ROOT/frames.csv                    (columns split, city, name)
ROOT/images/{train,val}/NAME.jpg
ROOT/ids/{train,val}/NAME.png      (16 bits: class 0..18 * 1000 + instance; instance 0 = none; 65535 = void)"""
ASPECT = 2.0
"""Width over height of a Cityscapes frame; packed frames may be stored stretched and are brought back to it."""
STORED_VOID = 65535


def packed_cityscapes(root: Path, split: str = "val") -> Dataset:
    """Cityscapes fine annotations with instances, 19 classes (Cordts et al., CVPR 2016), packed.

    Raises:
        DataError: the list is missing or malformed, or a file of it is missing.
    """
    samples = tuple(_sample(root, split, name) for name, _ in packed_frames(root, split))
    return Dataset(
        "cityscapes_640",
        samples,
        classes=dict(enumerate(CITYSCAPES19.names)),
        panoptic=_segments,
        stored=lambda path: read_ids(path)[0],
    )


def packed_frames(root: Path, split: str) -> list[tuple[str, str]]:
    """Name and city of the frames of a split.

    Raises:
        DataError: the list is missing or malformed, or has no frame of the split.
    """
    path = root / "frames.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        frames = [(relative_path(row["name"], path), row["city"]) for row in rows]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({shown(error)}); expected\n{LAYOUT}") from error
    if not frames:
        raise DataError(f"{path}: no frame of the split '{split}'; expected\n{LAYOUT}")
    return frames


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
    void = stored == STORED_VOID
    outside = ~void & (classes >= CITYSCAPES19.num_classes)
    if outside.any():
        raise DataError(f"{path}: value {int(stored[outside].max())} is outside 0..18999 and not {STORED_VOID}")
    numbers = np.where(void | (instances == 0), 0, stored).astype(np.int32)
    return np.where(void, VOID, classes).astype(np.uint8), numbers


def true_size(height: int) -> tuple[int, int]:
    """H, W of a frame at its true aspect, from the height it is stored with."""
    return height, round(ASPECT * height)


def _sample(root: Path, split: str, name: str) -> Sample:
    image, labels = root / "images" / split / f"{name}.jpg", root / "ids" / split / f"{name}.png"
    for path in (image, labels):
        if not path.is_file():
            raise DataError(f"{path}: is in the list and missing; expected\n{LAYOUT}")
    return Sample(name, image, labels, size=true_size(read_image(image).shape[0]))


def _segments(sample: Sample) -> PanopticTruth:
    assert sample.labels is not None
    classes, instances = (sample.fitted(ids) for ids in read_ids(sample.labels))
    # Instances keep their number, which is at least 1; a class without one follows the largest.
    whole = int(instances.max()) + 1
    ids = np.where(instances > 0, instances, whole + classes.astype(np.int32))
    ids[classes == VOID] = 0
    segments = []
    for number in np.unique(ids[ids > 0]):
        kind = int(classes[ids == number][0])
        crowd = number >= whole and kind in CITYSCAPES19.things
        segments.append(Segment(int(number), CITYSCAPES19.names[kind], bool(crowd)))
    return PanopticTruth(ids, tuple(segments))
