"""Plain statistics of an object's colours and outline: what the network's features are told little about."""

from __future__ import annotations

import cv2
import numpy as np

_BINS = (4, 6, 6)
_RANGES = (0, 256, 64, 192, 64, 192)
"""Lightness and the two colour axes of CIE L*a*b* as OpenCV stores them; beyond half of full saturation there is
nothing on a road, so the bins are spent on the rest."""


def colours(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Square root of the histogram over L*a*b*, float32 [144], of length 1: the Hellinger kernel's map.

    Args:
        image: uint8 [h, w, 3], RGB.
        mask: bool [h, w], where the object is.
    """
    lab = np.clip(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), (0, 64, 64), (255, 191, 191)).astype(np.uint8)
    counts = cv2.calcHist([lab], [0, 1, 2], mask.astype(np.uint8), list(_BINS), list(_RANGES)).ravel()
    roots: np.ndarray = np.sqrt(counts / max(float(counts.sum()), 1.0)).astype(np.float32)
    return roots


def outline(mask: np.ndarray) -> np.ndarray:
    """float32 [4] of length 1 at most 2: aspect, share of the box filled, share of the hull filled, roundness.

    Args:
        mask: bool [h, w], not empty.
    """
    contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    contour = max(contours, key=len)
    _, _, width, height = cv2.boundingRect(contour)
    area = float(np.count_nonzero(mask))
    hull = max(float(cv2.contourArea(cv2.convexHull(contour))), 1.0)
    around = max(float(cv2.arcLength(contour, True)), 1.0)
    aspect = np.clip(np.log2(width / height) / 2, -1, 1)
    return np.array(
        [aspect, min(1.0, area / (width * height)), min(1.0, area / hull), min(1.0, 4 * np.pi * area / around**2)],
        np.float32,
    )
