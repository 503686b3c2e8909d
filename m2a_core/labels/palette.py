"""Colours for classes that have none."""

from __future__ import annotations


def voc_color(index: int) -> tuple[int, int, int]:
    """Distinct colours by bit interleaving, as PASCAL VOC numbers them."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]
