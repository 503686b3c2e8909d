"""The overlay's size: drawn on a smaller image, it costs a fraction, and it is for people."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from m2a_core.types import OpenSetResult, UnknownInstance

OVERLAY_WIDTH = 960
"""Pixels that an overlay is wide at most, unless the node's parameters differ."""


def shrink(image: np.ndarray, result: OpenSetResult, max_width: int) -> tuple[np.ndarray, OpenSetResult]:
    """Bring an image and what an overlay shows of its result to at most ``max_width`` columns.

    Args:
        image: uint8 [H, W, 3].
        result: of this image; its ``open_set`` and instances are shown.
        max_width: pixels; 0 for the image's own size.

    Returns:
        Both, untouched where the image is no wider; else the image averaged, class ids by the nearest pixel, and no
        other maps.
    """
    height, width = image.shape[:2]
    if max_width <= 0 or width <= max_width:
        return image, result
    size = (max_width, max(1, round(height * max_width / width)))
    ids = result.open_set
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), OpenSetResult(
        open_set=None if ids is None else cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST),
        instances=tuple(_scaled(instance, size[0] / width, size[1] / height) for instance in result.instances),
    )


def _scaled(instance: UnknownInstance, x: float, y: float) -> UnknownInstance:
    x0, y0, x1, y1 = instance.bbox
    bbox = (int(x0 * x), int(y0 * y), max(int(x0 * x) + 1, round(x1 * x)), max(int(y0 * y) + 1, round(y1 * y)))
    contour = (instance.contour * (x, y)).astype(instance.contour.dtype)
    return replace(instance, bbox=bbox, contour=contour, contact=(instance.contact[0] * x, instance.contact[1] * y))
