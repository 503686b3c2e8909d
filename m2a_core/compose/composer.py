"""Frame by frame: cut-outs from far to near, the car's bonnet over them, and the ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Cutout, Look, draw_cutout, draw_shadow

KNOWN, ANOMALY, VOID = 0, 1, 255
"""Ground truth: part of the road scene, object that does not belong, not to be judged."""


@dataclass(frozen=True)
class Sighting:
    """One object in one frame.

    Attributes:
        name: name of the object.
        right: metres to the right of the camera.
        ahead: metres ahead of the camera, on the road.
        foot: x and y in pixels of the point where it stands.
        bbox: x0, y0, x1, y1 in pixels of what is seen of it, x1 and y1 exclusive.
        pixels: number of its ground-truth pixels.
    """

    name: str
    right: float
    ahead: float
    foot: tuple[float, float]
    bbox: tuple[int, int, int, int]
    pixels: int


def compose_layers(
    image: np.ndarray,
    cutouts: list[Cutout],
    camera: GroundCamera,
    pose: Pose,
    look: Look,
    bonnet: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Sighting]]:
    """Put the objects into one frame.

    Args:
        image: uint8 [H, W, 3] RGB.
        cutouts: the objects.
        camera: the camera.
        pose: the camera's pose in this frame.
        look: how the objects are fitted to the picture.
        bonnet: bool [H, W], the car's own bonnet: in front of everything, and void in the truth.
        seed: of the grain.

    Returns:
        The frame uint8 [H, W, 3]; the truth uint8 [H, W] (0 known, 1 anomaly, 255 void); uint16 [H, W], an object's
        number in ``cutouts``, from 1, where the truth is 1, else 0; and what is seen.
    """
    canvas = image.astype(np.float32)
    truth = np.full(image.shape[:2], KNOWN, np.uint8)
    grain = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, look.grain, image.shape), (0, 0), 0.7)
    numbered = enumerate(cutouts, start=1)
    placed = [(number, c, p) for number, c in numbered if (p := c.place(camera, pose)) is not None]
    placed.sort(key=lambda entry: -float(entry[2][2][1]))
    owner = np.zeros(image.shape[:2], np.uint16)
    for number, cutout, _ in placed:
        draw_shadow(canvas, cutout, camera, pose, look)
        alpha = draw_cutout(canvas, cutout, camera, pose, look)
        if alpha is None:
            continue
        canvas += grain * alpha[..., None]
        inside = alpha >= 0.5
        truth[(alpha > 0.1) & ~inside & (truth == KNOWN)] = VOID
        truth[inside] = ANOMALY
        owner[inside] = number
    canvas[bonnet] = image[bonnet]
    truth[bonnet] = VOID
    owner[bonnet] = 0
    sightings = []
    for number, cutout, (foot, _, road) in placed:
        ys, xs = np.nonzero(owner == number)
        if len(xs):
            bbox = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            position = (float(foot[0]), float(foot[1]))
            sightings.append(Sighting(cutout.name, float(road[0]), float(road[1]), position, bbox, len(xs)))
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8), truth, owner, sightings
