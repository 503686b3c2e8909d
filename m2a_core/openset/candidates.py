"""Candidate pixels of unknown instances on a road, from the refined anomaly score (Eq. 15).

Mask transformers score the borders between known segments high (no mask claims them fully), and a threshold at 95 %
true-positive rate lets these through: lines along kerbs and roofs that join real objects. An object differs in that it
is thick and that its middle is claimed by no class. Hence: thin structures are opened away, and a component counts only
where it contains a seed. Measured on the composed validation set of m2a-edge in benchmarks/records/2026-11-23-edge.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

OPENING = 1 / 72
"""Structures thinner than this share of a view's height are no objects: 5 pixels of 360."""


@dataclass(frozen=True)
class Layer:
    """Scores of one view of the scene: the whole image, or a window of it seen at a finer scale.

    Attributes:
        refined: float32 [h, w], f^r of the view's valid area.
        zoom: pixels of the result per pixel of ``refined`` and side.
        x: column of the result where the view begins.
        y: row of the result where the view begins.
    """

    refined: np.ndarray
    zoom: int = 1
    x: int = 0
    y: int = 0

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the result that the view covers."""
        height, width = self.refined.shape
        return slice(self.y, self.y + self.zoom * height), slice(self.x, self.x + self.zoom * width)

    @property
    def area(self) -> int:
        """Pixels of the result that the view covers."""
        return self.zoom**2 * self.refined.size


def candidates_of(layers: Sequence[Layer], size: tuple[int, int], seed: float, extent: float) -> np.ndarray:
    """Pixels of the thick components that contain a seed.

    Every view is opened at its own scale; then seeds and components of all views are taken together.

    Args:
        layers: the views; all lie inside the result.
        size: H, W of the result.
        seed: a pixel is a seed where f^r is at least this.
        extent: a component reaches as far as f^r is at least this; above ``seed`` it counts as ``seed``.

    Returns:
        bool [H, W].
    """
    candidates = np.zeros(size, bool)
    extents = thick(layers, size, min(seed, extent))
    x, y, width, height = cv2.boundingRect(extents)
    window = slice(y, y + height), slice(x, x + width)
    if width == 0:
        return candidates
    count, components = cv2.connectedComponents(extents[window], connectivity=8)
    seeded = np.zeros(count, bool)
    seeded[components[thick(layers, size, seed, window)[window] > 0]] = True
    candidates[window] = np.take(seeded, components)
    return candidates


def opening_kernel(height: int) -> np.ndarray:
    """What structures of a view must hold so as not to be opened away: uint8 [k, k], k odd; ``height`` in pixels."""
    side = 2 * (round(height * OPENING) // 2) + 1
    kernel: np.ndarray = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return kernel


def thick(
    layers: Sequence[Layer], size: tuple[int, int], level: float, window: tuple[slice, slice] | None = None
) -> np.ndarray:
    """Where some view reaches a level in a thick structure.

    Args:
        layers: see ``candidates_of``.
        size: see ``candidates_of``.
        level: of f^r.
        window: rows and columns of the result that are wanted; None for all. The rest of it may hold anything.

    Returns:
        uint8 [H, W], 0 or 1.
    """
    result = np.zeros(size, np.uint8)
    for layer in layers:
        kernel = opening_kernel(len(layer.refined))
        part = _part(layer, window, len(kernel))
        opened = _opened((part.refined >= level).view(np.uint8), kernel)
        if part.zoom > 1:
            rows, columns = opened.shape
            opened = cv2.resize(opened, (part.zoom * columns, part.zoom * rows), interpolation=cv2.INTER_NEAREST_EXACT)
        result[part.window] |= opened
    return result


def _part(layer: Layer, window: tuple[slice, slice] | None, margin: int) -> Layer:
    """What of a layer lies in a window of the result, with so many pixels of the layer around it."""
    if window is None:
        return layer
    zoom, starts, stops = layer.zoom, [], []
    for span, first, cells in zip(window, (layer.y, layer.x), layer.refined.shape, strict=True):
        starts.append(min(cells, max(0, (span.start - first) // zoom - margin)))
        stops.append(min(cells, max(0, -(-(span.stop - first) // zoom) + margin)))
    (top, left), (bottom, right) = starts, stops
    return Layer(layer.refined[top:bottom, left:right], zoom, layer.x + zoom * left, layer.y + zoom * top)


def _opened(mask: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A mask, uint8 [H, W], without what is thinner than the kernel; worked on only where it has pixels."""
    x, y, width, height = cv2.boundingRect(mask)
    result = np.zeros_like(mask)
    if width:
        # With as much around it as the kernel reaches: only the picture's own border may count as one.
        reach = len(kernel) // 2
        window = (slice(max(0, y - reach), y + height + reach), slice(max(0, x - reach), x + width + reach))
        result[window] = cv2.morphologyEx(mask[window], cv2.MORPH_OPEN, kernel)
    return result
