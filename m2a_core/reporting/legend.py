"""An overlay's legend as pixels, for films and sheets that stand without a page."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.labels.label_set import UNKNOWN_COLOR, LabelSet

_FONT, _SCALE, _ROW, _GAP = cv2.FONT_HERSHEY_SIMPLEX, 0.42, 20, 14
_SIDE = 11
_OUTLINE = (255, 255, 255)
_INK, _PAPER = (230, 230, 230), (32, 34, 38)


def legend_strip(labels: LabelSet, width: int, truth: tuple[int, int, int] | None = None) -> np.ndarray:
    """Colours of an overlay with their meaning, in as many rows as they need.

    Args:
        labels: the classes.
        width: pixels.
        truth: colour in which true objects are outlined, RGB; None where they are not.

    Returns:
        uint8 [h, width, 3], RGB.
    """
    entries = [
        ("unknown area", UNKNOWN_COLOR, _area),
        ("outline: an unknown instance", _OUTLINE, _outline),
        ("corners: the horizon window", _OUTLINE, _corners),
    ]
    if truth is not None:
        entries.append(("outline: a true object", truth, _outline))
    entries += [(name, color, _area) for name, color in zip(labels.names, labels.drawn_colors, strict=True)]
    placed, x, y = [], 8, 0
    for text, color, draw in entries:
        wide = 18 + cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0]
        if x > 8 and x + wide > width:
            x, y = 8, y + _ROW
        placed.append((x, y, text, color, draw))
        x += wide + _GAP
    canvas = np.full((y + _ROW + 4, width, 3), _PAPER, np.uint8)
    for x, y, text, color, draw in placed:
        draw(canvas, x, y + 6, color)
        cv2.putText(canvas, text, (x + 18, y + 16), _FONT, _SCALE, _INK, 1, cv2.LINE_AA)
    return canvas


def _area(canvas: np.ndarray, x: int, y: int, color: tuple[int, int, int]) -> None:
    cv2.rectangle(canvas, (x, y), (x + _SIDE, y + _SIDE), color, cv2.FILLED)
    cv2.rectangle(canvas, (x - 1, y - 1), (x + _SIDE + 1, y + _SIDE + 1), _INK, 1)


def _outline(canvas: np.ndarray, x: int, y: int, color: tuple[int, int, int]) -> None:
    cv2.ellipse(canvas, (x + 6, y + 6), (6, 5), 0, 0, 360, color, 2)


def _corners(canvas: np.ndarray, x: int, y: int, color: tuple[int, int, int]) -> None:
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = np.array([x + right * _SIDE, y + below * _SIDE])
        for arm in ((3 - 6 * right, 0), (0, 3 - 6 * below)):
            cv2.line(canvas, corner.tolist(), (corner + arm).tolist(), color, 1)


def with_legend(overlay: np.ndarray, labels: LabelSet) -> np.ndarray:
    """An overlay, uint8 [H, W, 3] RGB, with its legend below: uint8 [H + h, W, 3]."""
    return np.vstack([overlay, legend_strip(labels, overlay.shape[1])])
