"""Where the ground is free in a picture of a road, and whether an object stands and shows on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

import m2a_core
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Cutout, Look, draw_cutout

FREE = 0.8
"""Share of an object's pixels that free ground must be behind."""
_CAMVID = (3, 4)
_NAMES = ("road", "sidewalk")
_LABELS = ("labels_camvid11", "labels")


def free_ground(path: Path, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Road and pavement of a picture or of a video's frames.

    Args:
        path: the file; a picture in ``images/`` has CamVid's classes in ``labels/`` or ``labels_camvid11/`` beside it.
            Where there are none, the model that ships says what is road and pavement.
        images: uint8 [H, W, 3] each, RGB.

    Returns:
        bool [H, W] for each image.
    """
    parts = list(path.parts)
    for folder in _LABELS if "images" in parts else ():
        at = len(parts) - 1 - parts[::-1].index("images")
        file = Path(*parts[:at], folder, *parts[at + 1 :]).with_suffix(".png")
        if file.is_file():
            return [np.isin(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), _CAMVID)] * len(images)
    model = m2a_core.load()
    ids = [model.labels.names.index(name) for name in _NAMES]
    return [np.isin(model(image).maps.semantic, ids) for image in images]


def stands_free(cutout: Cutout, camera: GroundCamera, pose: Pose, look: Look, free: np.ndarray) -> bool:
    """Whether foot and at least ``FREE`` of an object's pixels are on free ground, bool [H, W], or it is not seen."""
    placed = cutout.place(camera, pose)
    alpha = draw_cutout(np.zeros((*free.shape, 3), np.float32), cutout, camera, pose, look)
    if placed is None or alpha is None:
        return True
    x, y = (round(float(value)) for value in placed[0])
    seen = alpha >= 0.5
    inside = 0 <= y < free.shape[0] and 0 <= x < free.shape[1] and bool(free[y, x])
    return inside and bool(free[seen].mean() >= FREE)
