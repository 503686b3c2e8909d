"""Where the camera was in every image of a bag: from odometry, else from the road's texture, else standing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2a_core.compose.egomotion import estimate_motion
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.errors import DataError
from m2a_core.geometry.projection import Mounting
from m2a_ros.bag.calibration import Track

WINDOW = 40
"""Images over which the car is taken to keep speed and bend, where only the road's texture tells its motion."""

_GUESSES_M = 0.05 * 1.3 ** np.arange(14)


@dataclass(frozen=True)
class Motion:
    """The camera's motion.

    Attributes:
        poses: one per image, in the road frame of the first.
        source: in words, for the reader.
    """

    poses: tuple[Pose, ...]
    source: str


def from_track(track: Track, times_ns: Sequence[int], mounting: Mounting) -> Motion:
    """Poses at times of recording; before the track begins and after it ends the car is taken to stand."""
    first, last = int(track.times_ns[0]), int(track.times_ns[-1])
    known = [track.at(min(max(time, first), last)) for time in times_ns]
    cameras = [_camera(place, mounting) for place in known if place is not None]
    x0, y0, heading0 = cameras[0]
    cos, sin = math.cos(heading0), math.sin(heading0)
    poses = tuple(
        Pose((x - x0) * sin - (y - y0) * cos, (x - x0) * cos + (y - y0) * sin, -(heading - heading0))
        for x, y, heading in cameras
    )
    outside = sum(not first <= time <= last for time in times_ns)
    note = f", which does not cover {outside} of {len(times_ns)} images" if outside else ""
    return Motion(poses, f"{track.kind} on {track.topic}{note}")


def from_texture(images: Sequence[np.ndarray], camera: GroundCamera) -> Motion:
    """Poses by following the road's texture, window after window; a window without enough of it stands.

    Args:
        images: uint8 [H, W], grey, in order.
        camera: the camera; the scale of the motion is as true as its height.
    """
    road = road_area(camera)
    poses, standing = [Pose()], 0
    for start in range(0, len(images) - 1, WINDOW):
        window = list(images[start : start + WINDOW + 1])
        steps = _window(window, camera, road)
        standing += (len(window) - 1) * (steps is None)
        base = poses[-1]
        for step in [Pose()] * (len(window) - 1) if steps is None else steps[1:]:
            moved = base.moved(step.x, step.z, step.yaw, 0.0)
            poses.append(Pose(moved.x, moved.z, moved.yaw, step.pitch))
    note = f"; {standing} of {len(images)} images show too little of it and are taken as standing" if standing else ""
    return Motion(tuple(poses), f"the road's texture{note}")


def road_area(camera: GroundCamera) -> np.ndarray:
    """uint8 [H, W], 255 in the trapezoid ahead that is taken for road: 6 to 30 m, two metres to either side."""
    area = np.zeros((camera.height, camera.width), np.uint8)
    rows, columns = np.mgrid[: camera.height, : camera.width]
    below = rows > camera.horizon() + 2
    places = camera.to_road(np.column_stack([columns[below], rows[below]]).astype(np.float64))
    area[below] = 255 * ((np.abs(places[:, 0]) < 2.0) & (places[:, 1] > 6.0) & (places[:, 1] < 30.0))
    return area


def _window(images: list[np.ndarray], camera: GroundCamera, road: np.ndarray) -> list[Pose] | None:
    """Poses relative to the window's first image, or None where the motion cannot be told."""
    if not road.any():
        return None
    # The tracker must begin within 15 % of the speed, which is not recorded: the first two images try them all.
    best: tuple[float, float] | None = None
    for guess in _GUESSES_M:
        try:
            speed = estimate_motion(images[:2], camera, road, float(guess))[1]
        except DataError:
            continue
        error = abs(math.log(max(speed, 1e-6) / guess))
        if best is None or error < best[0]:
            best = (error, speed)
    if best is None or best[0] > 0.15:
        return None
    try:
        return estimate_motion(images, camera, road, best[1])[0]
    except DataError:
        return None


def _camera(place: tuple[float, float, float], mounting: Mounting) -> tuple[float, float, float]:
    """x, y and heading of the camera when the car is at x, y and yaw; an unknown yaw is taken as 0."""
    x, y, yaw = place
    yaw = 0.0 if math.isnan(yaw) else yaw
    cos, sin = math.cos(yaw), math.sin(yaw)
    return x + cos * mounting.x - sin * mounting.y, y + sin * mounting.x + cos * mounting.y, yaw + mounting.yaw
