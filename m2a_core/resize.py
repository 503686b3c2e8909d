"""Images at another size."""

from __future__ import annotations

from math import gcd

import cv2
import numpy as np

_LARGEST_PERIOD = 16
"""Rows made of one group of rows; with more, groups are too few for NumPy to be fast over them."""
_LARGEST_SUM = np.iinfo(np.uint16).max


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at another size: averaged where that is smaller, bilinear where it is larger.

    Args:
        image: uint8 [H0, W0, 3].
        size: H, W.

    Returns:
        uint8 [H, W, 3]; the average of whole blocks of pixels to half a grey level for factors 2, 3, 5 ..., with half
        a level more for each further factor of 2.
    """
    resampling = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    factor, rest = divmod(image.shape[0], size[0])
    if rest == 0 and factor * size[1] == image.shape[1]:
        # OpenCV halves four times as fast as it averages any other block.
        while factor > 2 and factor % 2 == 0:
            image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
            factor //= 2
    elif 2 * size[0] <= image.shape[0] and size[1] < image.shape[1]:
        group, made = (n // gcd(image.shape[0], size[0]) for n in (image.shape[0], size[0]))
        if made <= _LARGEST_PERIOD and group * 255 <= _LARGEST_SUM:
            return _averaged(image, size, group, made)
    found: np.ndarray = cv2.resize(image, size[::-1], interpolation=resampling)
    return found


def _averaged(image: np.ndarray, size: tuple[int, int], group: int, made: int) -> np.ndarray:
    """The average over areas in half of OpenCV's time: rows first, by sums of whole numbers that hold for all groups.

    Args:
        image: uint8 [H0, W0, 3].
        size: H, W.
        group: rows of the image of which ...
        made: ... so many rows are made.
    """
    # What 16 bits leave of room keeps fractions of a grey level.
    fractions = _LARGEST_SUM // (255 * group)
    groups = image.reshape(size[0] // made, group, -1)
    sums = np.empty((len(groups), made, groups.shape[2]), np.uint16)
    for row in range(made):
        # In parts of a row of the image, of which each has `made`.
        start, stop = row * group, (row + 1) * group
        first, last = start // made, -(-stop // made)
        parts = [min(stop, made * (n + 1)) - max(start, made * n) for n in range(first, last)]
        # Weights and sums in one pass over memory.
        weights = np.array(parts, np.uint16) * np.uint16(fractions)
        np.einsum("gkx,k->gx", groups[:, first:last], weights, out=sums[:, row], dtype=np.uint16)
    columns = cv2.resize(sums.reshape(size[0], image.shape[1], 3), size[::-1], interpolation=cv2.INTER_AREA)
    found: np.ndarray = cv2.convertScaleAbs(columns, alpha=1 / (group * fractions))
    return found
