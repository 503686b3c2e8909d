"""An overlay's legend as pixels, for films and sheets that stand without a page."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.labels.label_set import UNKNOWN_COLOR, LabelSet

_FONT, _SCALE, _ROW, _GAP = cv2.FONT_HERSHEY_SIMPLEX, 0.42, 20, 14
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
        ("unknown area", UNKNOWN_COLOR, True),
        ("outline: an unknown instance", _OUTLINE, False),
        ("corners: the horizon window", _OUTLINE, False),
    ]
    if truth is not None:
        entries.append(("outline: a true object", truth, False))
    entries += [(name, color, True) for name, color in zip(labels.names, labels.drawn_colors, strict=True)]
    placed, x, y = [], 8, 0
    for text, color, filled in entries:
        wide = 18 + cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0]
        if x > 8 and x + wide > width:
            x, y = 8, y + _ROW
        placed.append((x, y, text, color, filled))
        x += wide + _GAP
    canvas = np.full((y + _ROW + 4, width, 3), _PAPER, np.uint8)
    for x, y, text, color, filled in placed:
        cv2.rectangle(canvas, (x, y + 6), (x + 11, y + 17), color, cv2.FILLED if filled else 2)
        cv2.rectangle(canvas, (x - 1, y + 5), (x + 12, y + 18), _INK, 1)
        cv2.putText(canvas, text, (x + 18, y + 16), _FONT, _SCALE, _INK, 1, cv2.LINE_AA)
    return canvas


def with_legend(overlay: np.ndarray, labels: LabelSet) -> np.ndarray:
    """An overlay, uint8 [H, W, 3] RGB, with its legend below: uint8 [H + h, W, 3]."""
    return np.vstack([overlay, legend_strip(labels, overlay.shape[1])])
