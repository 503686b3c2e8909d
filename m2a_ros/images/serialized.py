"""Images seen in their serialised messages: rclpy copies a message's data three times before a node may look at it.

Only what writers usually send is read here: plain CDR (OMG DDS-XTypes 1.3, 7.4.1) of either byte order, complete, texts
closed by their only zero. All else is left to rclpy, which then gives the message or says that it is none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

_PLAIN_CDR = {b"\0\0": ">", b"\0\1": "<"}
_ENCAPSULATION = 4
Serialized = bytes | memoryview
_PADDINGS = tuple(bytes((0, count)) for count in range(4))
"""Bytes that some writers append to fill up a word."""


@dataclass(frozen=True, slots=True)
class ImageView:
    """The fields of a ``sensor_msgs/Image``; ``data`` is a view of the serialised message."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class CompressedImageView:
    """The fields of a ``sensor_msgs/CompressedImage``; ``data`` is a view of the serialised message."""

    header: Header
    format: str
    data: memoryview


def view_image(data: Serialized) -> ImageView | None:
    """See a serialised ``sensor_msgs/Image``; None where it takes rclpy to read it."""
    try:
        reader = _Reader(data)
        header, height, width = reader.header(), reader.number("I"), reader.number("I")
        encoding, is_bigendian = reader.text(), reader.number("B")
        return ImageView(header, height, width, encoding, is_bigendian, reader.number("I"), reader.data())
    except _NotPlain:
        return None


def view_compressed_image(data: Serialized) -> CompressedImageView | None:
    """See a serialised ``sensor_msgs/CompressedImage``; None where it takes rclpy to read it."""
    try:
        reader = _Reader(data)
        return CompressedImageView(reader.header(), reader.text(), reader.data())
    except _NotPlain:
        return None


class _NotPlain(ValueError):
    """The message is cut short, or written in another way."""


class _Reader:
    """Takes one field after the other."""

    def __init__(self, data: Serialized) -> None:
        head = bytes(data[:_ENCAPSULATION])
        order, options = _PLAIN_CDR.get(head[:2]), head[2:]
        if order is None or options not in _PADDINGS:
            raise _NotPlain
        self._order, self._at = order, 0
        self._data = memoryview(data)[_ENCAPSULATION : len(data) - options[1]]

    def number(self, code: str) -> int:
        size = struct.calcsize(f"={code}")
        start = -(-self._at // size) * size
        self._at = start + size
        if self._at > len(self._data):
            raise _NotPlain
        value: int = struct.unpack_from(self._order + code, self._data, start)[0]
        return value

    def data(self) -> memoryview:
        length = self.number("I")
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise _NotPlain
        return self._data[start : self._at]

    def text(self) -> str:
        raw = bytes(self.data())
        if raw.find(0) != len(raw) - 1 or not raw.isascii():
            raise _NotPlain
        return raw[:-1].decode("ascii")

    def header(self) -> Header:
        stamp = Time(sec=self.number("i"), nanosec=self.number("I"))
        return Header(stamp=stamp, frame_id=self.text())
