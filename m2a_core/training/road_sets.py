"""Cityscapes and StreetHazards as they are distributed, for training; layouts in ``docs/training.md``."""

from __future__ import annotations

import functools
from pathlib import Path

from m2a_core.data.base import paired, pictures, require
from m2a_core.data.classes import CITYSCAPES_VALUES, STREETHAZARDS_NAMES, cityscapes
from m2a_core.images import read_image
from m2a_core.labels.builtin import CITYSCAPES19, STREETHAZARDS12
from m2a_core.labels.label_map import LabelValues, read_label_map
from m2a_core.training.datasets import FrameSource, LabelledImage

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
    known = {value: ids[name] for value, name in dataset.classes.items()}
    values = LabelValues(known, CITYSCAPES_VALUES - known.keys())
    return [_source(s.name, s.image, s.labels, values) for s in dataset.samples]


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
        "StreetHazards",
        STREETHAZARDS_LAYOUT,
        pictures(images, "**/*"),
        lambda p: labels / p.relative_to(images).with_suffix(".png"),
        lambda p: "_".join(p.relative_to(images).with_suffix("").parts),
    )
    ids = {name: i for i, name in enumerate(STREETHAZARDS12.names)}
    known = {v: ids[name] for v, name in _STREETHAZARDS.items() if name in ids}
    values = LabelValues(known, frozenset(range(14)) - known.keys())
    return [_source(s.name, s.image, s.labels, values) for s in samples]


def _source(name: str, image: Path, labels: Path | None, values: LabelValues) -> FrameSource:
    assert labels is not None
    return FrameSource(name, functools.partial(_read, name, image, labels, values))


def _read(name: str, image_path: Path, label_path: Path, values: LabelValues) -> LabelledImage:
    image = read_image(image_path)
    label = read_label_map(label_path, values, image.shape[:2])
    return LabelledImage(name, image_path.parent.name, image, label)
