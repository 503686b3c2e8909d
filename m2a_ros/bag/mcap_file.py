"""What an MCAP file holds that the bag parser refuses; see https://mcap.dev/spec for the format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from m2a_core.errors import shown

MCAP_MAGIC = b"\x89MCAP0\r\n"

_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE = 0x01, 0x02, 0x03, 0x04, 0x05
_FOOTER_BYTES = 9 + 20 + len(MCAP_MAGIC)
_ROS_SCHEMAS = ("ros2msg", "ros2idl", "omgidl", "")
_MAX_RECORDS, _MAX_BYTES = 10_000, 1 << 24


def describe_mcap(file: Path) -> str | None:
    """Why a file that begins as an MCAP file is not a bag, and what to do; None if it looks like one."""
    with file.open("rb") as stream:
        stream.seek(0, 2)
        size = stream.tell()
        stream.seek(len(MCAP_MAGIC))
        header = next(_records(stream), None)
        if header is None or header[0] != _HEADER:
            return f"{file.name} ends in its first record; nothing of it can be read"
        fields = BytesIO(header[1])
        profile, library = _text(fields), _text(fields)
        closed = _is_closed(stream, size)
        stream.seek(_summary(stream, size) if closed else len(MCAP_MAGIC))
        schemas, messages = _encodings(stream)
    if profile != "ros2" or set(messages) - {"cdr"} or set(schemas) - set(_ROS_SCHEMAS):
        kinds = f"messages in {_names(messages)} with schemas in {_names(schemas)}" if messages else "no known messages"
        return (
            f"{file.name} is an MCAP file with profile {shown(profile)} by {shown(library)}, {kinds}; expected "
            "profile 'ros2' with messages in cdr, as `ros2 bag record` writes it: convert it, or record it that way"
        )
    if not closed:
        return (
            f"{file.name} was not closed: it was cut short, or the recorder was killed; save what is there with `mcap "
            f"recover {file} -o recovered.mcap`; for a folder then `ros2 bag reindex`"
        )
    return None


def _is_closed(stream: BinaryIO, size: int) -> bool:
    stream.seek(max(0, size - len(MCAP_MAGIC)))
    return stream.read() == MCAP_MAGIC and size >= len(MCAP_MAGIC) + _FOOTER_BYTES


def _summary(stream: BinaryIO, size: int) -> int:
    """Where the schemas and channels are told: the summary's offset, or without one the first record's."""
    stream.seek(size - _FOOTER_BYTES)
    footer = stream.read(9 + 8)
    start: int = struct.unpack("<Q", footer[9:])[0] if footer[0] == _FOOTER else 0
    return start if 0 < start < size else len(MCAP_MAGIC)


def _encodings(stream: BinaryIO) -> tuple[list[str], list[str]]:
    """Encodings of the schemas and of the messages that the records from here on tell."""
    schemas, messages = set(), set()
    for kind, data in _records(stream):
        fields = BytesIO(data)
        if kind == _SCHEMA:
            fields.read(2)
            _text(fields)
            schemas.add(_text(fields))
        elif kind == _CHANNEL:
            fields.read(4)
            _text(fields)
            messages.add(_text(fields))
        elif kind == _FOOTER:
            break
    return sorted(schemas), sorted(messages)


def _records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Kind and contents of records; long ones, which hold messages, without their contents."""
    for _ in range(_MAX_RECORDS):
        start = stream.read(9)
        if len(start) < 9:
            return
        kind, length = struct.unpack("<BQ", start)
        if kind in (_HEADER, _SCHEMA, _CHANNEL) and length < _MAX_BYTES:
            data = stream.read(length)
            if len(data) < length:
                return
            yield kind, data
        else:
            yield kind, b""
            stream.seek(min(length, 1 << 62), 1)


def _text(fields: BytesIO) -> str:
    length = int.from_bytes(fields.read(4), "little")
    return fields.read(min(length, _MAX_BYTES)).decode("utf-8", "replace")[:80]


def _names(names: list[str]) -> str:
    return ", ".join(name or "''" for name in names) or "none"
