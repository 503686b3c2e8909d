"""Images at another size."""

from __future__ import annotations

import cv2
import numpy as np


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at another size: averaged where that is smaller, bilinear where it is larger.

    OpenCV halves ten times as fast as it averages other blocks of pixels, so an image of twice the size and more is
    halved first. What is left then is taken bilinearly, as from the levels of a mipmap (Williams, SIGGRAPH 1983).

    Args:
        image: uint8 [H0, W0, 3].
        size: H, W.

    Returns:
        uint8 [H, W, 3]; the average of whole blocks of pixels to half a grey level for factors 2, 3, 5 ..., with half
        a level more for each further factor of 2.
    """
    halvings, interpolation = halvings_of((image.shape[0], image.shape[1]), size)
    for _ in range(halvings):
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    found: np.ndarray = cv2.resize(image, size[::-1], interpolation=interpolation)
    return found


def halvings_of(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """How often an image is halved before it is resized, and by which of OpenCV's interpolations it then is.

    Args:
        source: H, W of the image.
        target: H, W to come to.
    """
    (height, width), (rows, columns) = source, target
    whole = height % rows == 0 and height // rows * columns == width
    # Blocks of 2 are halved by the last step too.
    least = 4 if whole else 2
    halvings = 0
    while height >= least * rows and width >= least * columns and not (height | width) & 1:
        if whole and (height // rows) % 2:
            break
        height, width, halvings = height // 2, width // 2, halvings + 1
    if halvings and not whole:
        return halvings, cv2.INTER_LINEAR
    return halvings, cv2.INTER_AREA if rows < height else cv2.INTER_LINEAR
