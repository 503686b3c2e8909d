"""Depth images beside a camera's images: the one that belongs to a frame, and an object's depth in it.

A depth image is registered to the camera's image: same view, any resolution. ``16UC1`` holds millimetres, 0 where
nothing is known; ``32FC1`` metres, not finite or <= 0 where nothing is known (REP-118).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from m2a_core.errors import DataError, quoted
from m2a_core.preprocess import Geometry
from m2a_core.types import UnknownInstance

_TYPES = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
# Fewer say nothing: depth cameras have holes, and a few pixels of an object's rim show what is behind it.
_MIN_SHARE, _MIN_PIXELS = 0.1, 4
_RANGE = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class DepthReading:
    """An object's depth, in metres along the optical axis.

    Attributes:
        near: a tenth of its pixels is nearer.
        middle: the median.
        far: a tenth of its pixels is farther.
    """

    near: float
    middle: float
    far: float


def depth_in_metres(message: Any) -> np.ndarray:
    """Read a depth image.

    Args:
        message: ``sensor_msgs/Image``.

    Returns:
        float32 [H, W], metres; NaN where nothing is known.

    Raises:
        DataError: the encoding is none of depth images, or the data do not fill the image.
    """
    kind = _TYPES.get(message.encoding)
    if kind is None:
        raise DataError(
            f"depth image: encoding {quoted(message.encoding)}, expected 16UC1 (millimetres) or 32FC1 (metres)"
        )
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    row, rest = divmod(message.step, dtype.itemsize)
    empty = message.width == 0 or message.height == 0
    if empty or rest or row < message.width or len(message.data) < message.step * message.height:
        raise DataError(
            f"depth image: {message.width}x{message.height} {message.encoding} with a step of {message.step} needs "
            f"{message.step * message.height} bytes, got {len(message.data)}; correct the driver"
        )
    values = np.frombuffer(message.data, dtype, row * message.height).reshape(message.height, row)[:, : message.width]
    metres = values.astype(np.float32) * (np.float32(0.001) if kind == "u2" else np.float32(1))
    metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def object_depth(
    instance: UnknownInstance, instances: np.ndarray, depth: np.ndarray, size: tuple[int, int] | None = None
) -> DepthReading | None:
    """The depth of an instance; maps of any size are read as if they had the image's.

    Args:
        instance: the instance.
        instances: uint16, holds ``instance.id`` where the instance is.
        depth: float32 [h, w], metres, NaN where nothing is known; of the same view.
        size: H, W of the image, which the box of ``instance`` is in; None for that of ``instances``.

    Returns:
        None where too little of it is known.
    """
    x0, y0, x1, y1 = instance.bbox
    window, whole = (slice(y0, y1), slice(x0, x1)), size or instances.shape
    view = Geometry(whole, instances.shape, (instances.shape[0] / whole[0], instances.shape[1] / whole[1]))
    mask = (view.undo_labels(instances, window=window) == instance.id).astype(np.uint8)
    rows, cols = (
        slice(int(span.start * scale), max(int(np.ceil(span.stop * scale)), int(span.start * scale) + 1))
        for span, scale in zip(window, np.array(depth.shape) / whole, strict=True)
    )
    seen = depth[rows, cols]
    if mask.shape != seen.shape:
        mask = cv2.resize(mask, (seen.shape[1], seen.shape[0]), interpolation=cv2.INTER_NEAREST)
    values = seen[(mask > 0) & np.isfinite(seen)]
    if len(values) < max(_MIN_PIXELS, _MIN_SHARE * np.count_nonzero(mask)):
        return None
    near, middle, far = (float(value) for value in np.quantile(values, _RANGE))
    return DepthReading(near, middle, far)
