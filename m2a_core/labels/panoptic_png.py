"""Panoptic maps as COCO stores them: the colour of a pixel is the id of its segment, R + 256 G + 65536 B."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import ImageOps

from m2a_core.errors import DataError
from m2a_core.labels.label_map import counted, id_image

_GREY = ("1", "L", "I;16", "I")


def read_segment_ids(path: Path, annotated: Collection[int]) -> np.ndarray:
    """Read a panoptic PNG.

    Args:
        path: RGB, or palette whose colours are the ids; or grey whose values are exactly the annotated ids.
        annotated: ids of the segments that the annotations list; 0 is void.

    Returns:
        int32 [H, W], 0 = void.

    Raises:
        DataError: the file cannot be read or is cut short, or its ids are not those of the annotations.
    """
    with id_image(path) as (image, mode):
        upright = ImageOps.exif_transpose(image)
        samples = np.asarray(upright if mode in _GREY else upright.convert("RGB")).astype(np.int32)
    ids = samples @ np.array([1, 256, 65536], np.int32) if samples.ndim == 3 else samples
    found, pixels = np.unique(ids, return_counts=True)
    stray = [(int(i), int(n)) for i, n in zip(found, pixels, strict=True) if i and int(i) not in annotated]
    absent = sorted({*annotated} - {int(i) for i in found})
    if (stray or absent) and samples.ndim == 2:
        raise DataError(f"{path}: a grey picture, which holds no ids of 24 bits; expected RGB, R + 256 G + 65536 B")
    if stray:
        raise DataError(
            f"{path}: segment ids {counted(stray)} are not among the {len(annotated)} annotated ones; "
            "the PNG and the JSON are of different releases"
        )
    if absent:
        raise DataError(f"{path}: has no pixel of the annotated segments {absent[:8]}; it and the JSON do not fit")
    return ids
