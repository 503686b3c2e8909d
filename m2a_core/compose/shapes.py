"""Objects drawn by the project itself, for composing into anybody's images: no picture of others is needed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

_SIZE = 160


def crate() -> np.ndarray:
    """A wooden crate with planks and a diagonal."""
    image = _empty()
    cv2.rectangle(image, (8, 20), (_SIZE - 8, _SIZE - 1), (150, 105, 60, 255), -1)
    for x in range(8, _SIZE - 8, 24):
        cv2.line(image, (x, 20), (x, _SIZE - 1), (95, 62, 32, 255), 3)
    cv2.line(image, (12, 26), (_SIZE - 12, _SIZE - 6), (178, 130, 78, 255), 14)
    cv2.rectangle(image, (8, 20), (_SIZE - 8, _SIZE - 1), (88, 58, 30, 255), 7)
    return image


def tyre() -> np.ndarray:
    """A tyre that stands upright."""
    image, center = _empty(), (_SIZE // 2, _SIZE // 2)
    cv2.circle(image, center, 79, (28, 28, 30, 255), -1, cv2.LINE_AA)
    cv2.circle(image, center, 62, (58, 58, 62, 255), 5, cv2.LINE_AA)
    cv2.circle(image, center, 38, (122, 124, 128, 255), -1, cv2.LINE_AA)
    cv2.circle(image, center, 16, (40, 40, 44, 255), -1, cv2.LINE_AA)
    return image


def drum() -> np.ndarray:
    """A blue drum with two rings."""
    image = _empty()
    shade = np.clip(1.15 - np.abs(np.linspace(-1, 0.8, _SIZE - 40)), 0.35, 1.0)
    image[10:, 20 : _SIZE - 20, :3] = (np.array([40, 78, 150]) * shade[None, :, None]).astype(np.uint8)
    image[10:, 20 : _SIZE - 20, 3] = 255
    for y in (58, 108):
        cv2.line(image, (20, y), (_SIZE - 21, y), (26, 50, 98, 255), 6)
    cv2.ellipse(image, (_SIZE // 2, 12), (_SIZE // 2 - 20, 11), 0, 0, 360, (86, 128, 196, 255), -1, cv2.LINE_AA)
    return image


def sack() -> np.ndarray:
    """A lumpy pale sack."""
    image = _empty()
    outline = np.array(
        [[14, 159], [4, 110], [24, 60], [58, 30], [70, 8], [92, 10], [104, 32], [140, 66], [156, 116], [146, 159]],
        np.int32,
    )
    cv2.fillPoly(image, [outline], (186, 172, 140, 255), cv2.LINE_AA)
    rng = np.random.default_rng(3)
    folds = cv2.GaussianBlur(rng.normal(0, 60, (_SIZE, _SIZE)).astype(np.float32), (0, 0), 7) * 4
    colors = image[..., :3] + folds[..., None] * (image[..., 3:] > 0)
    image[..., :3] = np.clip(colors, 0, 255).astype(np.uint8)
    return image


SHAPES: dict[str, tuple[Callable[[], np.ndarray], float]] = {
    "crate": (crate, 0.8),
    "tyre": (tyre, 0.65),
    "drum": (drum, 0.9),
    "sack": (sack, 0.55),
}
"""Name -> what draws it (uint8 [H, W, 4], RGBA) and its height in metres."""


def _empty() -> np.ndarray:
    return np.zeros((_SIZE, _SIZE, 4), np.uint8)
