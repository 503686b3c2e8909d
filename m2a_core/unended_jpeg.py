"""JPEG streams without their end marker: buffers of USB cameras lack it, and perhaps the last bytes with it.

Decoders make missing blocks a flat grey and say nothing: a stream that was cut off in the middle looks like a whole.
"""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.encoded_image import JPEG, EncodedImage
from m2a_core.errors import DataError

_EOI = b"\xff\xd9"
# Coded data, and with every restart marker some more: whatever a decoder still waits for, it finds. The two differ in
# their first bits, so one of them is not what was cut off.
_RESTARTS = (b"", *(bytes([0xFF, 0xD0 + i]) for i in range(8)))
_FILLINGS = tuple(
    b"".join(marker + first * 8 + bytes(range(0x11, 0xF0, 7)) for marker in _RESTARTS) for first in (b"\x55", b"\xaa")
)
_MISSING_GREY = 128
_LARGEST_BLOCK_ROWS = 16


def decode_unended(data: bytes, found: EncodedImage, tolerance: float = 0.0) -> tuple[np.ndarray, bytes]:
    """Decode a stream that has no end marker, if its image is there.

    Args:
        data: the stream.
        found: what ``encoded_image.inspect`` says of it.
        tolerance: share of the rows that may be missing at the bottom.

    Returns:
        The pixels as OpenCV decodes them unchanged, [H, W] or [H, W, C], and the stream with an end marker.

    Raises:
        DataError: more rows are missing, nothing can be decoded, or nothing tells what is missing: a PNG, or a
            progressive JPEG, whose last pass refines the whole image.
    """
    if found.codec != JPEG or found.progressive or not found.scans:
        raise DataError("cut short: it has no end")
    data = data.rstrip(b"\xff")
    pixels = _imdecode(data + _EOI)
    if pixels is None:
        raise DataError("damaged and without an end")
    rows = len(pixels)
    tolerated = int(rows * tolerance)
    column = pixels[:, -1].reshape(rows, -1)
    # The last blocks tell, unless one is a large part of what is tolerated, or grey by itself.
    if tolerated < _LARGEST_BLOCK_ROWS or (column[-tolerated - 1 :] == _MISSING_GREY).all():
        missing = _rows_missing(data, pixels)
        if missing > tolerated:
            raise DataError(f"cut short: {rows - missing} of {rows} rows are there")
    return pixels, data + _EOI


def _rows_missing(data: bytes, pixels: np.ndarray) -> int:
    """Rows from the first that depends on what follows the data: after the last block of an image, nothing does."""
    changed = np.zeros(len(pixels), bool)
    for filling in _FILLINGS:
        other = _imdecode(data + filling + _EOI)
        if other is None or other.shape != pixels.shape:
            return len(pixels)
        changed |= (other != pixels).reshape(len(pixels), -1).any(axis=1)
    return len(pixels) - int(changed.argmax()) if changed.any() else 0


def _imdecode(data: bytes) -> np.ndarray | None:
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        return image
    except cv2.error:
        return None
