"""Packed Cityscapes frames for training: true aspect, instances, and the own car as known."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import nearest
from m2a_core.data.packed_cityscapes import packed_frames, read_ids, true_size
from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE, OWN_CAR


def packed_cityscapes_sources(root: Path, split: str) -> list[FrameSource]:
    """List the frames of a split.

    Args:
        root: folder in the layout of `m2a_core.data.packed_cityscapes`.
        split: ``train`` or ``val``.

    Raises:
        DataError: the list is missing or malformed, or has no frame of the split.
    """
    frames = packed_frames(root, split)
    return [FrameSource(name, functools.partial(_read, root, split, name, city)) for name, city in frames]


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
    size = true_size(image.shape[0])
    if size != image.shape[:2]:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return LabelledImage(name, city, image, nearest(label, size), instances=nearest(instances, size))
