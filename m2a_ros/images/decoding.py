"""Image messages to RGB, raw and compressed: the same picture of a message in the node and in a replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from m2a_core.encoded_image import MAX_PIXELS, MAX_SCANS, inspect
from m2a_core.errors import DataError, quoted
from m2a_core.unended_jpeg import decode_unended
from m2a_ros.images.compressed_format import parse_format, stream_encoding
from m2a_ros.images.conversions import image_to_array, image_to_rgb
from m2a_ros.images.encodings import ImageError, convert

BYTES_AFTER_END, WITHOUT_END = "bytes_after_end", "without_end"
_TOLERATED = 1 / 25
_SIGNATURES = (
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "HEIF"),
    (0, b"\0\0\0\1", "H.264 or H.265"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cjP", "JPEG 2000"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
)


@dataclass(frozen=True)
class Decoded:
    """A decoded image message.

    Attributes:
        rgb: uint8 [H, W, 3], RGB.
        oddity: what is wrong with the stream although it was decoded: ``bytes_after_end``, ``without_end``, or None.
    """

    rgb: np.ndarray
    oddity: str | None = None


def decode_image_message(msg: Any, max_pixels: int = MAX_PIXELS, view_bgr: bool = False) -> Decoded:
    """Decode a ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``.

    Args:
        msg: the message, of whatever library.
        max_pixels: a compressed image that claims more is refused before it is decoded.
        view_bgr: the pixels of a raw bgr8 image are not copied: ``rgb`` is a view of them, which is not contiguous.

    Raises:
        ImageError: the message is malformed, too large, or has no conversion to rgb8.
    """
    if view_bgr and getattr(msg, "encoding", "") == "bgr8":
        return Decoded(image_to_array(msg)[..., ::-1])
    if not hasattr(msg, "format"):
        return Decoded(image_to_rgb(msg))
    pixels, encoding, oddity = decode_compressed(msg, max_pixels)
    return Decoded(convert(pixels, encoding, "rgb8"), oddity)


def decode_compressed(msg: Any, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, str, str | None]:
    """Decode a ``sensor_msgs/CompressedImage`` as it is.

    An EXIF orientation is ignored: ``camera_info`` describes the sensor, not the viewer.

    Args:
        msg: the message.
        max_pixels: an image that claims more is refused before it is decoded.

    Returns:
        The pixels, uint8 or uint16, [H, W] or [H, W, C]; their encoding; and the oddity, as in ``Decoded``.

    Raises:
        ImageError: ``empty``; ``too_large``; ``undecodable``: neither JPEG nor PNG, cut off or damaged;
            ``unconvertible``: depth, or another source without colours.
    """
    pixels, oddity = decode_stream(msg, max_pixels)
    return pixels, stream_encoding(parse_format(msg.format), pixels), oddity


def decode_stream(msg: Any, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, str | None]:
    """The pixels of a ``sensor_msgs/CompressedImage`` as OpenCV decodes them unchanged, and the oddity.

    Raises:
        ImageError: ``empty``, ``too_large`` or ``undecodable``.
    """
    data = bytes(msg.data)
    what = f"compressed image (format {quoted(msg.format)}, {len(data)} bytes)"
    if not data:
        raise ImageError("empty", f"{what} has no data; check the camera driver")
    found = inspect(data)
    if found is None:
        raise ImageError(
            "undecodable", f"{what} cannot be decoded{_looks_like(data)}; expected a whole JPEG or PNG file as data"
        )
    if found.pixels > max_pixels:
        raise ImageError(
            "too_large",
            f"{what} claims {found.width}x{found.height} pixels, more than the {max_pixels} that are allowed "
            "(parameter max_image_pixels of the node); it was not decoded",
        )
    if found.scans > MAX_SCANS:
        raise ImageError("undecodable", f"{what} has {found.scans} scans, more than any encoder writes")
    if found.end is not None:
        pixels = _imdecode(data[: found.end], what)
        return pixels, None if found.end == len(data) else BYTES_AFTER_END
    try:
        return decode_unended(data, found, _TOLERATED)[0], WITHOUT_END
    except DataError as error:
        raise ImageError(
            "undecodable", f"{what} is {error}: it was cut off on the way; check the driver and the transport"
        ) from error


def looks_like(data: bytes) -> str | None:
    """Name of the codec of a stream that is neither JPEG nor PNG, by its signature; None for an unknown one."""
    return next((name for at, sign, name in _SIGNATURES if data[at : at + len(sign)] == sign), None)


def _imdecode(data: bytes, what: str) -> np.ndarray:
    try:
        pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageError("undecodable", f"{what} cannot be decoded: its data are damaged")
    return pixels


def _looks_like(data: bytes) -> str:
    name = looks_like(data)
    return f": it looks like {name}" if name else ""
