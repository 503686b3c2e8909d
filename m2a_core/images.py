"""Reading image files into RGB, refusing what is damaged, and writing PNGs.

One rule of orientation: every command reads a picture file as a viewer shows it, with its EXIF orientation applied, and
label files likewise. An image in a message is read as the sensor gave it: ``camera_info`` is of the sensor's pixels.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import cv2
import numpy as np

from m2a_core.encoded_image import MAX_SCANS, EncodedImage, inspect
from m2a_core.errors import DataError
from m2a_core.files import read_regular, replaced
from m2a_core.image_header import MAX_PIXELS, ImageHeader, is_cut_short, read_header
from m2a_core.unended_jpeg import decode_unended

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
"""Endings, in any case, that are taken for images when a directory is given."""

_LOG = logging.getLogger(__name__)
_MAX_BYTES = 1 << 30
_TWELVE_BITS = 1 << 12
# What np.rot90 and a flip do to show what EXIF's 1..8 mean: quarter turns against the clock, then left-right.
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


def read_image(path: Path) -> np.ndarray:
    """Read an image file, upright.

    Args:
        path: JPEG, PNG, WebP, BMP, PPM or TIFF of 8 or 16 bits, grey, colour or with alpha, which is left out.

    Returns:
        uint8 [H, W, 3], RGB; see ``decode_image``.

    Raises:
        DataError: no such file, not an image, cut short, of other pixels, or too large.
    """
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Contents of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from error


def decode_image(data: bytes, source: str, *, upright: bool = True, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a compressed image.

    Pixels of 16 bits are scaled to 8 by the bits that matter: those that the file states (a PNG's sBIT), else 12 where
    no value reaches 4096, as cameras of 12 bits fill them, which is said once on the log; else all 16.

    Args:
        data: contents of an image file, e.g. of a ``sensor_msgs/CompressedImage``.
        source: where they came from, for messages.
        upright: apply the EXIF orientation; False for messages of a camera.
        max_pixels: see ``read_header``.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: not an image, cut short, of other pixels than 8 or 16 bits, or too large.
    """
    header = read_header(data, source, max_pixels)
    if header.mode in ("F", "I"):
        raise DataError(f"{source}: expected 8 or 16 bits a sample, got 32; save it as one of them")
    bgr = _decode(data, source, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    rgb = cv2.cvtColor(_to_8_bit(bgr, header, source), cv2.COLOR_BGR2RGB)
    # OpenCV turns TIFFs by itself, whatever it is told.
    return turned(rgb, header.orientation) if upright and header.format != "TIFF" else rgb


def write_png(path: Path, pixels: np.ndarray, alone: bool = True) -> None:
    """Write a PNG whole or not at all; unlike ``cv2.imwrite`` it says so where the disk is full.

    Args:
        path: the file.
        pixels: uint8 or uint16, [H, W] or [H, W, C] with channels in OpenCV's order.
        alone: see ``replaced``.

    Raises:
        OSError: it cannot be written.
    """
    with replaced(path, alone) as temporary:
        temporary.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def read_rgba(path: Path) -> np.ndarray:
    """Read a cut-out, upright.

    Args:
        path: image file of 8 bits with alpha.

    Returns:
        uint8 [H, W, 4], RGBA.

    Raises:
        DataError: no such file, not an image, cut short, or without alpha.
    """
    data = read_bytes(path)
    image = decode_stored(data, str(path))
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise DataError(f"{path}: expected an RGBA image of 8 bits, got {image.dtype.name} {list(image.shape)}")
    return turned(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), read_header(data, str(path)).orientation)


def decode_stored(data: bytes, source: str) -> np.ndarray:
    """Decode a compressed image into its stored samples: no orientation, no scaling, alpha kept.

    Args:
        data: contents of an image file.
        source: where they came from, for messages.

    Returns:
        [H, W] or [H, W, C] of the stored type, channels in OpenCV's order (BGR, BGRA).

    Raises:
        DataError: not an image, cut short or too large.
    """
    read_header(data, source)
    return _decode(data, source, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image [H, W] or [H, W, C] as its EXIF orientation (1..8) says it is to be seen."""
    quarters, mirrored = _TURNS.get(orientation, (0, False))
    image = np.rot90(image, quarters)
    return np.ascontiguousarray(image[:, ::-1] if mirrored else image)


def _decode(data: bytes, source: str, flags: int) -> np.ndarray:
    stream = inspect(data)
    if stream is not None and stream.scans > MAX_SCANS:
        raise DataError(f"{source}: a JPEG of {stream.scans} scans, expected at most {MAX_SCANS}; each costs a pass")
    if is_cut_short(data):
        data = _ended(data, stream, source)
    image = _imdecode(data, flags)
    if image is None:
        raise DataError(f"{source}: damaged; OpenCV cannot decode the image ({len(data)} bytes)")
    return image


def _ended(data: bytes, stream: EncodedImage | None, source: str) -> bytes:
    """A JPEG that lacks nothing but its end marker, with one."""
    try:
        if stream is None:
            raise DataError("cut short: it has no end")
        return decode_unended(data, stream)[1]
    except DataError as error:
        raise DataError(f"{source}: the image is {error} ({len(data)} bytes); fetch or send it again") from error


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        return image
    except cv2.error:
        return None


def _to_8_bit(image: np.ndarray, header: ImageHeader, source: str) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise DataError(f"{source}: expected 8 or 16 bits a sample, got {image.dtype.name}; save it as one of them")
    bits = header.significant_bits
    if bits is None:
        bits = 12 if image.max() < _TWELVE_BITS else 16
        if bits == 12:
            _say_twelve_bits(source)
    scaled: np.ndarray = cv2.convertScaleAbs(image, alpha=255 / ((1 << bits) - 1))
    return scaled


@functools.cache
def _said() -> list[str]:
    return []


def _say_twelve_bits(source: str) -> None:
    """Once a process: a drive has thousands of frames."""
    if not _said():
        _said().append(source)
        _LOG.warning("%s: 16-bit image whose values stay below 4096: taken for 12-bit data, here and in others", source)
