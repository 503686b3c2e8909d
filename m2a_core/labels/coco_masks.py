"""Masks of single objects as COCO's instance annotations hold them: polygons and run lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from m2a_core.errors import MALFORMED, DataError, shown
from m2a_core.image_header import MAX_PIXELS

_MAX_OUTLINE = 1 << 22
"""Pixels along all polygons of an object, plus their distance: pycocotools holds five points for each, unchecked."""


def segmentation_mask(segmentation: Any, size: tuple[int, int], source: str) -> np.ndarray:
    """Rasterise a COCO segmentation, pixel for pixel as ``pycocotools`` does.

    Args:
        segmentation: list of polygons [x0, y0, x1, y1, ...]; or a mapping with ``size`` [H, W] and ``counts``, a list
            of run lengths or COCO's compressed text of them.
        size: H, W of the image.
        source: what it is of, for messages.

    Returns:
        uint8 [H, W], 0 or 1.

    Raises:
        DataError: malformed, of another size, or too large.
    """
    from pycocotools import mask

    height, width = size
    if height * width > MAX_PIXELS:
        raise DataError(f"{source}: expected an image of at most {MAX_PIXELS} pixels, got {list(size)}")
    if isinstance(segmentation, list):
        try:
            polygons = [np.array(polygon, np.float64) for polygon in segmentation]
        except MALFORMED as error:
            raise DataError(f"{source}: expected polygons of numbers ({shown(error)})") from error
        good = all(p.ndim == 1 and p.size >= 6 and p.size % 2 == 0 and np.isfinite(p).all() for p in polygons)
        if not polygons or not good:
            raise DataError(f"{source}: expected polygons of at least three points")
        if sum(map(_extent, polygons)) > _MAX_OUTLINE:
            raise DataError(f"{source}: expected an outline of at most {_MAX_OUTLINE} pixels, got a longer one")
        polygon_mask: np.ndarray = mask.decode(
            mask.merge(mask.frPyObjects([p.tolist() for p in polygons], height, width))
        )
        return polygon_mask
    fields = segmentation if isinstance(segmentation, Mapping) else {}
    stated, counts = fields.get("size"), fields.get("counts")
    compressed = isinstance(counts, str | bytes)
    runs = _decompressed(counts) if isinstance(counts, str | bytes) else counts
    # pycocotools trusts the sum and reads beyond its memory where it is another.
    fits = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not fits or stated not in ([height, width], (height, width)) or sum(runs or ()) != height * width:
        kind = "compressed run lengths" if compressed else "polygons or run lengths"
        raise DataError(f"{source}: expected {kind} of an image of {list(size)}")
    run_mask: np.ndarray = mask.decode(mask.frPyObjects({"size": [height, width], "counts": runs}, height, width))
    return run_mask


def _extent(polygon: np.ndarray) -> float:
    """Pixels along a polygon, one a point at least, and from the image's corner to it."""
    points = polygon.reshape(-1, 2)
    with np.errstate(over="ignore"):
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(1)
        return float(steps.sum() + len(points) + np.abs(points).max())


def _decompressed(text: str | bytes) -> list[int] | None:
    """Run lengths of COCO's text, as ``rleFrString`` of its maskApi.c reads them; None where it is none.

    A character has 5 bits; from the fourth run on the difference to the one two before is written.
    """
    runs: list[int] = []
    value = shift = 0
    if not text.isascii():
        return None
    for character in text.encode() if isinstance(text, str) else text:
        code = character - 48
        if not 0 <= code < 64:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            value -= (1 << shift) if code & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs
