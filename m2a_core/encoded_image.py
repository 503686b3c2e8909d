"""What a JPEG or PNG stream says of itself, read from its markers without decoding a pixel.

JPEG: ITU-T T.81, annex B. PNG: https://www.w3.org/TR/png-3/#5DataRep
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PIXELS = 40_000_000
"""Largest image that is decoded unless the user allows more: a few kilobytes can claim any size."""

MAX_SCANS = 100
"""Scans of a progressive JPEG; encoders write about ten, and each costs a pass over the image."""

JPEG, PNG = "jpeg", "png"

JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_SOS, _EOI = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_MARKER = re.compile(rb"\xff([^\x00\xff])")
# In coded data, a zero follows a byte FF that is none of a marker; restart markers belong to the data.
_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_MAX_SEGMENTS = 4096


@dataclass(frozen=True)
class EncodedImage:
    """A JPEG or PNG stream.

    Attributes:
        codec: ``jpeg`` or ``png``.
        width: pixels, as the header says.
        height: pixels, as the header says.
        end: bytes up to the end marker and with it; None where there is none.
        scans: JPEG: passes over the image.
        progressive: JPEG: whether a pass adds to what the ones before it gave.
    """

    codec: str
    width: int
    height: int
    end: int | None
    scans: int = 1
    progressive: bool = False

    @property
    def pixels(self) -> int:
        """How many pixels the decoded image would have."""
        return self.width * self.height


def inspect(data: bytes) -> EncodedImage | None:
    """Read the markers of a stream.

    Args:
        data: the stream, whole or not; bytes after its end do no harm.

    Returns:
        None if it is neither JPEG nor PNG by its signature, or ends before its header tells the size.
    """
    if data.startswith(JPEG_SIGNATURE):
        return _jpeg(data)
    return _png(data) if data.startswith(PNG_SIGNATURE) else None


def _jpeg(data: bytes) -> EncodedImage | None:
    size: tuple[int, int] | None = None
    position, scans, progressive, end = 2, 0, False, None
    for _ in range(_MAX_SEGMENTS):
        # Like decoders, this skips whatever is between two segments.
        found = (_MARKER_IN_SCAN if scans else _MARKER).search(data, position)
        if found is None:
            break
        marker, position = found[1][0], found.end()
        if marker == _EOI:
            end = position
            break
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in _SOF and size is None:
            fields = data[position + 3 : position + 7]
            if len(fields) < 4:
                return None
            size = int.from_bytes(fields[2:], "big"), int.from_bytes(fields[:2], "big")
            progressive = marker in _PROGRESSIVE
        scans += marker == _SOS
        # The length counts its own two bytes.
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return None if size is None else EncodedImage(JPEG, *size, end, scans, progressive)


def _png(data: bytes) -> EncodedImage | None:
    if data[12:16] != b"IHDR" or len(data) < 24:
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    end = data.find(_PNG_END)
    return EncodedImage(PNG, width, height, None if end < 0 else end + len(_PNG_END))
