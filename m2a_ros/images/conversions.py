"""ROS image messages <-> NumPy arrays. No rclpy: messages are taken by their fields.

An image is checked before a pixel of it is read. ROS's cv_bridge silently narrows an image whose step is too small,
accepts data that is too long, and misreads padding that is not a whole number of pixels; here these are an error, an
error, and read right.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np

from m2a_ros.images.encodings import ImageError, convert, pixel_format

JPEG_QUALITY = 90
JPEG_FORMAT = "rgb8; jpeg compressed bgr8"
"""image_transport's convention: encoding of the source; codec and encoding of the stream."""


def image_to_array(msg: Any) -> np.ndarray:
    """View the pixels of a ``sensor_msgs/Image``.

    Args:
        msg: the message.

    Returns:
        [H, W] or [H, W, C] in native byte order, [3/2 H, W] for nv12 and nv21; shares memory with the message where
        the layout allows.

    Raises:
        ImageError: unknown encoding, no pixels, or step or data length that do not fit height and width.
    """
    layout = pixel_format(msg.encoding)
    height, width, step, size = msg.height, msg.width, msg.step, len(msg.data)
    if height == 0 or width == 0:
        raise ImageError("empty", f"image is {width}x{height}: it has no pixels; check the camera driver")
    row_bytes = width * layout.pixel_bytes
    if step < row_bytes:
        raise ImageError(
            "size_mismatch",
            f"image step is {step}, but {width} pixels of '{msg.encoding}' need at least {row_bytes} bytes a row; "
            "the driver's step, width or encoding is wrong",
        )
    if layout.semiplanar and (height % 2 or width % 2):
        raise ImageError(
            "size_mismatch",
            f"image is {width}x{height}, but '{msg.encoding}' has chroma for every second pixel only; "
            "its width and height must be even",
        )
    rows_sent = height + height // 2 if layout.semiplanar else height
    if size != rows_sent * step:
        raise ImageError(
            "size_mismatch",
            f"image data has {size} bytes, expected rows * step = {rows_sent} * {step} = {rows_sent * step}; "
            "the message is cut off or its size fields are wrong",
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(rows_sent, step)[:, :row_bytes]
    big_endian = layout.dtype.itemsize > 1 and bool(msg.is_bigendian)
    dtype = layout.dtype.newbyteorder(">" if big_endian else "<")
    pixels = np.ascontiguousarray(rows).view(dtype)
    if big_endian == (sys.byteorder == "little") and layout.dtype.itemsize > 1:
        pixels = pixels.astype(layout.dtype)
    return pixels if layout.channels == 1 else pixels.reshape(height, width, layout.channels)


def image_to_rgb(msg: Any) -> np.ndarray:
    """Pixels of a ``sensor_msgs/Image`` as uint8 [H, W, 3], RGB.

    Raises:
        ImageError: the message is malformed or its encoding has no conversion to rgb8.
    """
    return convert(image_to_array(msg), msg.encoding, "rgb8")


def image_fields(array: np.ndarray, encoding: str) -> dict[str, Any]:
    """The fields of a ``sensor_msgs/Image`` of an array, all but header and data.

    Args:
        array: [H, W] or [H, W, C] with the dtype and channels of ``encoding``.
        encoding: the encoding.

    Raises:
        ImageError: the array does not have the dtype and channels of the encoding, or has no pixels, or the encoding
            is one that is only read (nv12, nv21).
    """
    layout = pixel_format(encoding)
    if layout.semiplanar:
        raise ImageError("unconvertible", f"images are not written as '{encoding}'; use rgb8 or bgr8")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or array.dtype != layout.dtype or channels != layout.channels:
        raise ImageError(
            "unconvertible",
            f"encoding '{encoding}' needs {layout.dtype.name} with {layout.channels} channels, "
            f"got {array.dtype.name} {list(array.shape)}",
        )
    if array.size == 0:
        raise ImageError("empty", f"array {list(array.shape)} has no pixels")
    height, width = array.shape[:2]
    big_endian = int(sys.byteorder == "big")
    return {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": big_endian,
        "step": width * layout.pixel_bytes,
    }


def fill_image(msg: Any, array: np.ndarray, encoding: str) -> None:
    """Fill a fresh ``sensor_msgs/Image`` from an array, all but its header.

    Args:
        msg: a new message; its data must be empty, for appending to it is by far the fastest way rclpy has.
        array: see ``image_fields``.
        encoding: the encoding.

    Raises:
        ImageError: as ``image_fields``.
    """
    for name, value in image_fields(array, encoding).items():
        setattr(msg, name, value)
    msg.data.frombytes(np.ascontiguousarray(array).data.cast("B"))


def fill_jpeg(msg: Any, rgb: np.ndarray, quality: int = JPEG_QUALITY) -> None:
    """Fill a fresh ``sensor_msgs/CompressedImage`` with a JPEG of uint8 [H, W, 3] RGB, all but its header."""
    msg.format = JPEG_FORMAT
    msg.data.frombytes(encode_jpeg(rgb, quality).data.cast("B"))


def encode_jpeg(rgb: np.ndarray, quality: int = JPEG_QUALITY) -> np.ndarray:
    """A JPEG, uint8 [N], of uint8 [H, W, 3] RGB."""
    jpeg: np.ndarray
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg
