"""Where to look a second time: a window at the far end of the road, in which the network sees twice the detail.

A lost crate 50 m away is one to three cells of the masks when the network sees the whole image. The window is chosen
from the road that the network itself saw. Positions are fractions of the image, so that they do not depend on its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2a_core.openset.components import largest_component
from m2a_core.preprocess import Geometry
from m2a_core.types import FarEnd

ZOOM = 2
"""The window's scale against that of the whole image."""

MIN_DETAIL = 1.5
"""Image pixels per pixel of the network's input from which there is something to see in a window."""

FALLBACK = (0.45, 0.5)
"""y and x of the far end where no road was ever seen: the usual horizon of a camera that looks ahead."""

_ABOVE = 0.35
"""Share of the window above the far end; unknown objects stand below it, on the road."""

_MIN_WIDTH = 0.02
"""The road ends in the topmost row where it is this share of the image wide."""

_ROWS = 0.05
"""Share of the image's height below the far end which says where that is, left to right."""

_LEASH = 0.06
"""How far, as shares of the image's sides, the far end may move before the window follows: an eighth of the window."""

_GRID = 4
"""Pixels of the canvas between two places of the window: the masks' stride."""

_MAX_GAP_NS = 1_000_000_000
"""A window is held from a frame that is at most this much older."""


@dataclass(frozen=True)
class Placement:
    """Where a window lies on the canvas: the image at ``ZOOM`` times the scale at which the network sees it whole.

    Attributes:
        y: first row.
        x: first column.
        height: rows, at most those of the network's input.
        width: columns, at most those of the network's input.
    """

    y: int
    x: int
    height: int
    width: int


def far_end(road: np.ndarray) -> tuple[float, float] | None:
    """Where the largest stretch of road ends, seen from below.

    A bank beside the road that the network takes for road can reach higher than the road. So the farther half of the
    road's pixels says first which way it leads, and its end is looked for as far to both sides of that as a window
    reaches.

    Args:
        road: bool [h, w], road of the whole image.

    Returns:
        y and x, fractions of the image; None where no road is wide enough.
    """
    height, width = road.shape
    own = largest_component(road.astype(np.uint8))
    if own is None:
        return None
    enough = max(1, _MIN_WIDTH * width)
    highest = _top(own, enough)
    if highest is None:
        return None
    area = np.count_nonzero(own, axis=1).cumsum()
    farther = int(np.searchsorted(area, area[-1] / 2)) + 1
    middle, reach = _middle(own[:farther]), width / (2 * ZOOM)
    left = max(0, round(middle - reach))
    ahead = own[:, left : round(middle + reach) + 1]
    top = _top(ahead, enough)
    if top is None:
        ahead, left, top = own, 0, highest
    return top / height, (left + _middle(ahead[top : top + max(1, round(_ROWS * height))]) + 0.5) / width


def _top(road: np.ndarray, enough: float) -> int | None:
    """The topmost row with so many pixels of road."""
    rows = np.flatnonzero(np.count_nonzero(road, axis=1) >= enough)
    return int(rows[0]) if rows.size else None


def _middle(road: np.ndarray) -> float:
    """The median column of a piece of road."""
    return float(np.median(np.nonzero(road)[1]))


def held(last: FarEnd | None, stamp_ns: int, size: tuple[int, int]) -> tuple[float, float] | None:
    """Y and x of the far end as the frame before left it.

    Args:
        last: of the frame before.
        stamp_ns: of this frame.
        size: its height and width.

    Returns:
        None where this frame does not follow on that one: it is not a little later, or has another size.
    """
    if last is None or last.stamp_ns == 0 or last.size != size:
        return None
    if not 0 < stamp_ns - last.stamp_ns <= _MAX_GAP_NS:
        return None
    return last.y, last.x


def steady(before: tuple[float, float] | None, seen: tuple[float, float] | None) -> tuple[float, float]:
    """The far end to go by: it stays until what is seen is a leash's length away, and then follows on the leash.

    Args:
        before: y and x by which the last window was placed, or None.
        seen: y and x in this frame, or None where no road is seen.
    """
    if seen is None or before is None:
        return seen or before or FALLBACK
    y, x = (min(max(old, new - _LEASH), new + _LEASH) for old, new in zip(before, seen, strict=True))
    return y, x


def place_window(target: tuple[float, float], geometry: Geometry, input_size: tuple[int, int]) -> Placement:
    """Put the window where the far end is in view, inside the image.

    Args:
        target: y and x of the far end, fractions of the image.
        geometry: how the whole image lies in the network's input.
        input_size: H, W of the network's input.
    """
    rows, cols = (ZOOM * n for n in geometry.valid)
    height, width = min(input_size[0], rows), min(input_size[1], cols)
    y = _aligned(target[0] * rows - _ABOVE * height, rows - height)
    x = _aligned(target[1] * cols - width / 2, cols - width)
    return Placement(y, x, height, width)


def _aligned(wanted: float, limit: int) -> int:
    """The nearest place where the masks of both views share their grid, in 0..limit."""
    return min(max(_GRID * round(wanted / _GRID), 0), _GRID * (limit // _GRID))


def has_detail(geometry: Geometry) -> bool:
    """Whether the image holds detail that the network does not see in the whole of it."""
    return max(geometry.scale) * MIN_DETAIL <= 1


def canvas_of(geometry: Geometry) -> Geometry:
    """How the image lies on the canvas."""
    valid, scale = geometry.valid, geometry.scale
    return Geometry(geometry.original, (ZOOM * valid[0], ZOOM * valid[1]), (ZOOM * scale[0], ZOOM * scale[1]))


def box_of(placement: Placement, canvas: Geometry) -> tuple[int, int, int, int]:
    """The part of the image that a window shows: x0, y0, x1, y1 in whole pixels, x1 and y1 exclusive."""
    (y0, y1), (x0, x1) = (
        (round(start / scale), max(round(start / scale) + 1, min(limit, round((start + size) / scale))))
        for start, size, scale, limit in zip(
            (placement.y, placement.x), (placement.height, placement.width), canvas.scale, canvas.original, strict=True
        )
    )
    return x0, y0, x1, y1
