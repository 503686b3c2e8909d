"""A painted cycle lane on the road: known, and often taken for unknown."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.compose.ground import GroundCamera, Pose

_NEAREST = 0.5
"""Metres: a lane that begins nearer is below the picture, and one behind the camera would appear in the sky."""


def draw_lane(rng: np.random.Generator) -> tuple[float, float, float]:
    """Where a lane lies: right, ahead and width in metres."""
    return float(rng.uniform(-1.5, 1.5)), float(rng.uniform(5.5, 9)), float(rng.uniform(1.2, 1.8))


def _sign(size: int = 128) -> np.ndarray:
    """A green cycle lane with a white bicycle, uint8 [size, size, 3], RGB."""
    sign = np.full((size, size, 3), (40, 150, 80), np.uint8)
    white = (250, 250, 250)
    for x in (35, 93):
        cv2.circle(sign, (x, 70), 22, white, 5)
    for a, b in (((35, 70), (70, 35)), ((70, 35), (93, 70)), ((35, 70), (62, 72)), ((62, 72), (80, 40))):
        cv2.line(sign, a, b, white, 5)
    return sign


def paint_lane(
    image: np.ndarray, camera: GroundCamera, pose: Pose, lane: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Paint a cycle lane.

    Args:
        image: uint8 [H, W, 3], RGB.
        camera: the camera.
        pose: where it is.
        lane: right, ahead and width in metres.

    Returns:
        The picture uint8 [H, W, 3], and the lane's pixels bool [H, W].
    """
    right, ahead, width = lane
    half = width / 2
    corners = np.array(
        [
            (right - half, ahead + 2 * width),
            (right + half, ahead + 2 * width),
            (right + half, ahead),
            (right - half, ahead),
        ]
    )
    ground = pose.to_camera(corners)
    points = camera.project(np.stack([ground[:, 0], np.zeros(4), ground[:, 1]], axis=1), pose.pitch)
    if points[:, 2].min() < _NEAREST:
        return image, np.zeros(image.shape[:2], bool)
    sign = _sign()
    n = sign.shape[0]
    warp = cv2.getPerspectiveTransform(
        np.array([(0, 0), (n, 0), (n, n), (0, n)], np.float32), points[:, :2].astype(np.float32)
    )
    size = image.shape[1::-1]
    laid = cv2.warpPerspective(sign, warp, size, flags=cv2.INTER_AREA)
    alpha = cv2.warpPerspective(np.full((n, n), 0.85, np.float32), warp, size, flags=cv2.INTER_LINEAR)
    # The road's light and shade stay: paint has the brightness of what it covers.
    shade = cv2.GaussianBlur(image.astype(np.float32).mean(axis=2), (0, 0), 4)
    shade = np.clip(shade / max(1.0, float(shade[alpha > 0.4].mean() if (alpha > 0.4).any() else 1)), 0.5, 1.5)
    painted = image + alpha[..., None] * (laid * shade[..., None] - image)
    return np.clip(painted, 0, 255).astype(np.uint8), alpha > 0.4
