"""Parts of COCO's JSON files: categories, images, masks (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.labels.label_set import UNKNOWN_COLOR, UNKNOWN_NAME, LabelSet


def category_id(class_id: int) -> int:
    """COCO's id of a class: one more, since tools of COCO take 0 for "none"."""
    return class_id + 1


def categories(labels: LabelSet) -> list[dict[str, Any]]:
    """The classes as COCO's panoptic categories; unknown objects come last."""
    named = [
        _category(i, name, i in labels.things, color)
        for i, (name, color) in enumerate(zip(labels.names, labels.colors, strict=True))
    ]
    return [*named, _category(labels.unknown_id, UNKNOWN_NAME, True, UNKNOWN_COLOR)]


def _category(class_id: int, name: str, thing: bool, color: tuple[int, int, int]) -> dict[str, Any]:
    kind = "thing" if thing else "stuff"
    return {
        "id": category_id(class_id),
        "name": name,
        "supercategory": kind,
        "isthing": int(thing),
        "color": list(color),
    }


def image_record(image_id: int, file_name: str, size: tuple[int, int]) -> dict[str, Any]:
    """An entry of ``images``; ``size`` is H, W in pixels."""
    return {"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]}


def number_images(paths: Sequence[Path]) -> list[int]:
    """Ids of image files: the numbers that all of them are named by, as COCO's own are, else 1, 2, ... in order."""
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= 15 for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask, bool [H, W], as COCO's compressed run lengths: ``size`` [H, W] and ``counts``, a text."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def bounding_box(mask: np.ndarray) -> list[int]:
    """The box of a mask, bool [H, W] with a pixel at least: x, y, width, height in pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def object_annotation(mask: np.ndarray, image_id: int, category: int) -> dict[str, Any]:
    """One object as COCO annotates it, without ``id``.

    Args:
        mask: bool [H, W] with a pixel at least.
        image_id: id of its image.
        category: id of its category.
    """
    return {
        "image_id": image_id,
        "category_id": category,
        "segmentation": encode_mask(mask),
        "area": int(mask.sum()),
        "bbox": bounding_box(mask),
        "iscrowd": 0,
    }
