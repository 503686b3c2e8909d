"""What an image file says of itself, read before a pixel is decoded: format, size, orientation, end."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from m2a_core.encoded_image import JPEG_SIGNATURE, PNG_SIGNATURE, inspect
from m2a_core.errors import DataError

MAX_PIXELS = 1 << 27
"""Largest width * height of a file unless a caller says otherwise: 134 million, beyond the cameras of telephones.
``encoded_image.MAX_PIXELS`` is for what comes over a network."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "JPEG2000")
"""What is read, by Pillow's names."""

_ORIENTATION = 0x0112
# What Pillow's plugins let through of damaged files.
_MALFORMED = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error)

# Our own limit comes first; Pillow's warning would only repeat it. Its error, at 179 million pixels, is translated.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class ImageHeader:
    """Header of an image file.

    Attributes:
        format: one of ``FORMATS``.
        mode: Pillow's name of the samples: ``1``, ``L``, ``P``, ``RGB``, ``I;16``, ``F`` and so on.
        width: pixels, as stored.
        height: pixels, as stored.
        orientation: EXIF tag 0x0112, 1..8; 1 = as stored.
        significant_bits: of each 16-bit sample, where the file says so (the PNG chunk sBIT); else None.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    significant_bits: int | None


def read_header(data: bytes, source: str, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Read the header of an image file.

    Args:
        data: contents of the file.
        source: where they came from, for messages.
        max_pixels: largest width * height; at most Pillow's own limit of 178,956,970.

    Raises:
        DataError: not an image of ``FORMATS``, a malformed header, or more pixels than ``max_pixels``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            (width, height), kind, mode = image.size, str(image.format), image.mode
            # Pillow looks for a PNG's EXIF behind the pixels, and would decode them first.
            orientation = (_png_exif(data) if kind == "PNG" else image.getexif()).get(_ORIENTATION, 1)
    except Image.DecompressionBombError as error:
        raise DataError(f"{source}: {error}") from error
    except UnidentifiedImageError as error:
        got = f"{len(data)} bytes that are none" if data else "an empty file"
        if data.startswith(b"version https://git-lfs"):
            got = "a Git LFS pointer: fetch the file itself with git lfs pull"
        raise DataError(f"{source}: expected an image of 8 or 16 bits ({', '.join(FORMATS)}), got {got}") from error
    except _MALFORMED as error:
        if is_cut_short(data):
            raise DataError(f"{source}: the image is cut short ({len(data)} bytes); fetch or send it again") from error
        raise DataError(f"{source}: the image's header is malformed ({error})") from error
    if width * height > max_pixels:
        raise DataError(f"{source}: {width}x{height} pixels are more than the limit of {max_pixels}")
    orientation = orientation if orientation in range(1, 9) else 1
    return ImageHeader("JPEG" if kind == "MPO" else kind, mode, width, height, orientation, _significant_bits(data))


def is_cut_short(data: bytes) -> bool:
    """Whether a JPEG, PNG or WebP file ends before its end. What follows the end does not count.

    Decoders fill what is missing with grey or old rows, and some say nothing. The end of a JPEG or PNG is what
    ``encoded_image.inspect`` finds, of a WebP what its RIFF header says. Files of other formats are left to their
    decoders.
    """
    if data.startswith((JPEG_SIGNATURE, PNG_SIGNATURE)):
        stream = inspect(data)
        return stream is None or stream.end is None
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return False


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks that are there in whole, with their checksums."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if position + 12 + length > len(data):
            return
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def _png_exif(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    content = next((content for kind, content in _png_chunks(data) if kind == b"eXIf"), b"")
    if content:
        exif.load(b"Exif\0\0" + content)
    return exif


def _significant_bits(data: bytes) -> int | None:
    if not data.startswith(PNG_SIGNATURE):
        return None
    # Before the palette and the pixels by the standard (W3C PNG, 5.6), so the walk ends soon.
    for kind, content in _png_chunks(data[:4096]):
        if kind == b"sBIT" and content:
            return max(content)
    return None
