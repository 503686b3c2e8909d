"""The header of a serialised message that begins with one, read and written in place, without decoding the rest.

CDR: four bytes of encapsulation, of which the second says little endian; seconds and nanoseconds of the stamp; length
of ``frame_id`` with its closing zero, and the text.
"""

from __future__ import annotations

import struct

_STAMP, _FRAME_ID = 4, 12
_MAX_SEC = 1 << 31


def header_of(data: bytes) -> tuple[int, str] | None:
    """Stamp in nanoseconds and ``frame_id`` of a serialised message; None where it is too short for a header."""
    if len(data) < _FRAME_ID + 4:
        return None
    order = _order(data)
    sec, nanosec, length = struct.unpack_from(f"{order}iII", data, _STAMP)
    text = data[_FRAME_ID + 4 : _FRAME_ID + 4 + max(0, length - 1)]
    return sec * 1_000_000_000 + nanosec, text.decode("utf-8", "replace")


def stamped(data: bytes, stamp_ns: int) -> bytes:
    """A serialised message with another stamp; ``data`` itself where a stamp cannot hold that time."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    if not 0 <= sec < _MAX_SEC or len(data) < _FRAME_ID:
        return data
    return data[:_STAMP] + struct.pack(f"{_order(data)}iI", sec, nanosec) + data[_FRAME_ID:]


def _order(data: bytes) -> str:
    return "<" if data[1] & 1 else ">"


def stamp_or_recorded(data: bytes, recorded_ns: int) -> tuple[bytes, bool]:
    """A serialised message whose stamp, if it is zero, is the time of recording; and whether it was zero.

    Drivers that set no stamp leave zero: nothing could be told apart by it, or put in order.
    """
    header = header_of(data)
    if header is None or header[0] != 0 or not recorded_ns:
        return data, False
    changed = stamped(data, recorded_ns)
    return changed, changed is not data
