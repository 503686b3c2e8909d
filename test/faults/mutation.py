"""Damage to bytes, from what a disk or a wire does to what a reader's author hopes never to see."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8


def cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def lengthen(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice((1, 3, 64, 1000)))


def put_extreme(data: bytearray, rng: random.Random) -> None:
    """A number of four bytes where sizes and counts usually are, near the beginning."""
    at = 4 * rng.randrange(max(1, min(len(data), 400) // 4))
    data[at : at + 4] = struct.pack("<I", rng.choice(EXTREMES))


def overwrite(data: bytearray, rng: random.Random) -> None:
    at, count = rng.randrange(len(data)), rng.choice((1, 4, 16, 256))
    data[at : at + count] = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))


def move_block(data: bytearray, rng: random.Random) -> None:
    start, count = rng.randrange(len(data)), rng.choice((4, 16, 64, 512))
    block = data[start : start + count]
    del data[start : start + count]
    at = rng.randrange(len(data) + 1)
    data[at:at] = block


def repeat_block(data: bytearray, rng: random.Random) -> None:
    start, count = rng.randrange(len(data)), rng.choice((4, 16, 64, 512))
    data[start:start] = data[start : start + count]


_KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits,
    flip_bits,
    cut_off,
    lengthen,
    put_extreme,
    put_extreme,
    overwrite,
    move_block,
    repeat_block,
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes, damaged once or a few times; never empty input."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if changed:
            rng.choice(_KINDS)(changed, rng)
    return bytes(changed)
