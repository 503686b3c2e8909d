"""Numbers of variable length, seven bits a byte, the lowest first: Protobuf's and those of Thrift's compact form."""

from __future__ import annotations


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The unsigned number, below 2^64, that begins at a byte, and where it ends.

    Raises:
        ValueError: it has no end.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # A number of more bits than its type has loses the upper ones.
            return value & (2**64 - 1), at
    raise ValueError("a number without an end")
