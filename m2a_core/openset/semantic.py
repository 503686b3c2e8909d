"""Open-set semantic segmentation (Sec. 5, Eq. 16)."""

from __future__ import annotations

import cv2
import numpy as np


def open_set_semantic(semantic: np.ndarray, anomaly: np.ndarray, threshold: float, unknown_id: int) -> np.ndarray:
    """Open-set segmentation (Eq. 16).

    The printed argmax over a label map and a thresholded score has no meaning as such; with the thresholded score as
    a class that beats the known ones wherever it is on, it says: unknown where f reaches the threshold, else g.

    Args:
        semantic: uint8 [H, W], g of Eq. 5.
        anomaly: float [H, W], f of Eq. 7.
        threshold: f from which a pixel is unknown.
        unknown_id: id for those pixels.

    Returns:
        uint8 [H, W].
    """
    reached = (anomaly >= threshold).view(np.uint8)
    # A tenth of the time of NumPy's masked copy.
    result: np.ndarray = cv2.copyTo(np.full_like(semantic, unknown_id), reached, semantic.copy())
    return result
