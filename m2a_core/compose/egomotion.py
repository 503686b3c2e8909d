"""The car's motion from the road texture: sparse optical flow fitted with the motion of a plane.

The next frame is first aligned by the motion that is guessed (a car at speed moves and stretches road texture further
than a search window follows); what flow is left is checked forward and backward, and the sum is fitted by iteratively
reweighted least squares.
"""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.errors import DataError

MIN_POINTS = 12
SPRING = 0.8
"""Share of the body's pitch that is left after a frame."""

_WINDOW = (21, 21)


def _move(camera: GroundCamera, pixels: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Where road pixels [N, 2] go when the car moves by step = (ahead, right, yaw, pitch)."""
    pose = Pose().moved(step[1], step[0], step[2], 0.0)
    road = pose.to_camera(camera.to_road(pixels))
    points = np.stack([road[:, 0], np.zeros(len(road)), road[:, 1]], axis=1)
    return camera.project(points, float(step[3]))[:, :2]


def _track(
    before: np.ndarray, after: np.ndarray, road: np.ndarray, camera: GroundCamera, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of road pixels [N, 2], [N, 2] that agree forward and backward within half a pixel."""
    found = cv2.goodFeaturesToTrack(before, 400, 0.005, 6, mask=road)
    if found is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    rows, columns = np.nonzero(road)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]], np.float64)
    plane = cv2.getPerspectiveTransform(corners.astype(np.float32), _move(camera, corners, guess).astype(np.float32))
    size = (before.shape[1], before.shape[0])
    aligned = cv2.warpPerspective(after, plane, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    there, ok_there, _ = cv2.calcOpticalFlowPyrLK(before, aligned, found, found.copy(), winSize=_WINDOW, maxLevel=2)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(aligned, before, there, there.copy(), winSize=_WINDOW, maxLevel=2)
    ok = (ok_there[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.linalg.norm(back - found, axis=2)[:, 0] < 0.5)
    moved = cv2.perspectiveTransform(there, plane)
    return found[ok, 0].astype(np.float64), moved[ok, 0].astype(np.float64)


def _fit(camera: GroundCamera, a: np.ndarray, b: np.ndarray, guess: np.ndarray, free: tuple[int, ...]) -> np.ndarray:
    """Fit the free entries of the step by Gauss-Newton with Geman-McClure weights."""
    step = guess.copy()
    delta = 1e-5
    for _ in range(30):
        residual = b - _move(camera, a, step)
        distance = np.linalg.norm(residual, axis=1)
        scale = max(1.0, 1.5 * float(np.median(distance)))
        root_weight = np.repeat(1 / (1 + (distance / scale) ** 2), 2)
        columns = []
        for i in free:
            e = np.zeros(4)
            e[i] = delta
            columns.append(((_move(camera, a, step + e) - _move(camera, a, step - e)) / (2 * delta)).ravel())
        jacobian = np.stack(columns, axis=1) * root_weight[:, None]
        step[list(free)] += np.linalg.lstsq(jacobian, residual.ravel() * root_weight, rcond=None)[0]
    return step


def estimate_motion(
    images: list[np.ndarray], camera: GroundCamera, road: np.ndarray, speed_guess: float
) -> tuple[list[Pose], float]:
    """Estimate the camera's pose in every frame of a short clip driven at constant speed on a steady bend.

    Args:
        images: uint8 [H, W] grey images in order.
        camera: the camera.
        road: uint8 [H, W], non-zero where only road is seen in every frame.
        speed_guess: metres per frame, within about 15 percent of the truth.

    Returns:
        One pose per image, the first at the origin, and the speed in metres per frame.

    Raises:
        DataError: too little road texture could be followed.
    """
    guess = np.array([speed_guess, 0.0, 0.0, 0.0])
    pairs = []
    for i in range(len(images) - 1):
        a, b = _track(images[i], images[i + 1], road, camera, guess)
        if len(a) < MIN_POINTS:
            raise DataError(
                f"frames {i} and {i + 1}: expected at least {MIN_POINTS} road points to follow, got {len(a)}; "
                "check the road polygon and the speed guess"
            )
        pairs.append((a, b))
    free_fits = np.stack([_fit(camera, a, b, guess, (0, 1, 2, 3)) for a, b in pairs])
    typical = np.median(free_fits, axis=0)
    typical[3] = 0.0
    fits = np.stack([_fit(camera, a, b, typical, (1, 2, 3)) for a, b in pairs])
    # Repetitive texture (dashes, reflectors) fools single pairs: the bend is steady, and only the body's pitch jumps.
    right, yaw = np.median(fits[:, 1]), np.median(fits[:, 2])
    pitches = np.array([_fit(camera, a, b, np.array([typical[0], right, yaw, 0.0]), (3,))[3] for a, b in pairs])
    nods = pitches - np.median(pitches)
    spread = 3 * 1.4826 * float(np.median(np.abs(nods))) + 1e-9
    nods = np.where(np.abs(nods) > spread, 0.0, nods)
    poses, pitch = [Pose()], 0.0
    for nod in nods:
        # Springs pull the body back; a sum of measured steps would drift.
        change = float(SPRING * pitch + nod - pitch)
        pitch += change
        poses.append(poses[-1].moved(float(right), float(typical[0]), float(yaw), change))
    return poses, float(typical[0])
