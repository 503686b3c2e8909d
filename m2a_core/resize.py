"""Images at another size."""

from __future__ import annotations

import cv2
import numpy as np


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
    found: np.ndarray = cv2.resize(image, size[::-1], interpolation=resampling)
    return found
