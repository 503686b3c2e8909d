"""Candidate pixels of unknown instances on a road, from the refined anomaly score (Eq. 15).

Mask transformers score the borders between known segments high (no mask claims them fully), and a threshold at 95 %
true-positive rate lets these through: lines along kerbs and roofs that join real objects. An object differs in that it
is thick and that its middle is claimed by no class. Hence: thin structures are opened away, and a component counts only
where it contains a seed. Measured on the composed validation set of m2a-edge in docs/edge.md.
"""

from __future__ import annotations

import cv2
import numpy as np

OPENING = 1 / 72
"""Structures thinner than this share of the network input's height are no objects: 5 pixels of 360."""


def anomaly_candidates(refined: np.ndarray, seed: float, extent: float) -> np.ndarray:
    """Pixels of the thick components that contain a seed.

    Args:
        refined: float32 [H, W], f^r (Eq. 15).
        seed: a pixel is a seed where f^r is at least this.
        extent: a component reaches as far as f^r is at least this; above ``seed`` it counts as ``seed``.

    Returns:
        bool [H, W].
    """
    size = 2 * (round(refined.shape[0] * OPENING) // 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    seeds, extents = (
        cv2.morphologyEx((refined >= level).astype(np.uint8), cv2.MORPH_OPEN, kernel)
        for level in (seed, min(seed, extent))
    )
    _, components = cv2.connectedComponents(extents, connectivity=8)
    seeded = np.zeros(components.max() + 1, bool)
    seeded[components[seeds > 0]] = True
    seeded[0] = False
    return seeded[components]
