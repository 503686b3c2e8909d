"""Cityscapes and StreetHazards as they are distributed, for training; layouts in ``docs/training.md``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from m2a_core.data.base import paired, pictures, require
from m2a_core.data.classes import STREETHAZARDS_NAMES, cityscapes
from m2a_core.data.files import read_labels
from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.labels.label_set import CITYSCAPES19, STREETHAZARDS12
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

CITYSCAPES_IDS = range(-1, 34)
"""Values of ``labelIds`` files; -1, the licence plate, is stored as 255."""

STREETHAZARDS_LAYOUT = """\
ROOT/train/images/{training,validation}/TOWN/NAME.png         (ROOT/train may also be given as ROOT)
ROOT/train/annotations/{training,validation}/TOWN/NAME.png    (1 unlabelled, 2..13 classes)"""

_STREETHAZARDS = {1: "background", **dict(enumerate(STREETHAZARDS_NAMES, start=2))}


def cityscapes_sources(root: Path, split: str) -> list[FrameSource]:
    """List the frames of Cityscapes' fine annotations (Cordts et al., CVPR 2016); all but the 19 classes are void.

    Args:
        root: folder with ``leftImg8bit`` and ``gtFine``.
        split: ``train`` or ``val``.

    Raises:
        DataError: the layout is another, or images lack their labels.
    """
    dataset = cityscapes(root, split)
    assert dataset.classes is not None
    ids = {name: i for i, name in enumerate(CITYSCAPES19.names)}
    values = {value: ids[name] for value, name in dataset.classes.items()}
    table = _table(values, [*CITYSCAPES_IDS, 255])
    return [_source(s.name, s.image, s.labels, table) for s in dataset.samples]


def streethazards_sources(root: Path, split: str) -> list[FrameSource]:
    """List the frames of StreetHazards (Hendrycks et al., ICML 2022; https://github.com/hendrycks/anomaly-seg).

    The 12 classes are the released code's: unlabelled pixels are the class "background", "other" is void.

    Args:
        root: folder with ``train``.
        split: ``training`` (towns t1 to t3) or ``validation`` (t4).

    Raises:
        DataError: the layout is another, or images lack their labels.
    """
    base = root / "train" if (root / "train" / "images").is_dir() else root
    images = require(base / "images" / split, STREETHAZARDS_LAYOUT, "StreetHazards")
    labels = base / "annotations" / split
    samples = paired(
        "StreetHazards", STREETHAZARDS_LAYOUT, pictures(images, "**/*"),
        lambda p: labels / p.relative_to(images).with_suffix(".png"),
        lambda p: "_".join(p.relative_to(images).with_suffix("").parts),
    )  # fmt: skip
    ids = {name: i for i, name in enumerate(STREETHAZARDS12.names)}
    table = _table({v: ids[name] for v, name in _STREETHAZARDS.items() if name in ids}, range(14))
    return [_source(s.name, s.image, s.labels, table) for s in samples]


def _table(values: Mapping[int, int], stored: range | list[int]) -> np.ndarray:
    """Class id per stored value, 255 = void, -1 = a value that no file may hold: int16 [256]."""
    table = np.full(256, -1, np.int16)
    for value in stored:
        table[value % 256] = values.get(value, IGNORE)
    return table


def _source(name: str, image: Path, labels: Path | None, table: np.ndarray) -> FrameSource:
    assert labels is not None
    return FrameSource(name, functools.partial(_read, name, image, labels, table))


def _read(name: str, image_path: Path, label_path: Path, table: np.ndarray) -> LabelledImage:
    image, stored = read_image(image_path), read_labels(label_path)
    if stored.shape != image.shape[:2]:
        raise DataError(f"{label_path}: label is {list(stored.shape)}, its image {list(image.shape[:2])}")
    outside = sorted(int(v) for v in np.unique(stored) if not 0 <= v < 256 or table[v] < 0)
    if outside:
        allowed = [i for i in range(256) if table[i] >= 0]
        raise DataError(
            f"{label_path}: label ids {outside[:5]} are outside the map; expected {allowed[0]}..{allowed[-1]}"
        )
    return LabelledImage(name, image_path.parent.name, image, table[stored].astype(np.uint8))
