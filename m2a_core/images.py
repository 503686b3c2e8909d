"""Reading image files into RGB, refusing what is damaged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
"""Endings that are taken for images when a directory is given."""


def read_image(path: Path) -> np.ndarray:
    """Read an image file.

    Args:
        path: any format OpenCV reads; gray and 16-bit images become 8-bit RGB, an EXIF orientation is applied.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: no such file, not an image, or cut short.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from error
    return decode_image(data, str(path))


def decode_image(data: bytes, source: str) -> np.ndarray:
    """Decode a compressed image.

    Args:
        data: contents of an image file, e.g. of a ``sensor_msgs/CompressedImage``.
        source: where they came from, for messages.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: not an image, or cut short (older OpenCV would fill the rest of a JPEG with gray).
    """
    if data[:2] == b"\xff\xd8" and not _jpeg_is_complete(data):
        raise DataError(f"{source}: the JPEG is cut short ({len(data)} bytes, no end marker); fetch or send it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise DataError(f"{source}: OpenCV cannot decode the image ({error.err})") from error
    if image is None:
        raise DataError(f"{source}: expected an image ({', '.join(SUFFIXES)}), got {len(data)} bytes that are none")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _jpeg_is_complete(data: bytes) -> bool:
    """True when an end marker follows the image data; one inside an embedded preview does not count."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
    return False
