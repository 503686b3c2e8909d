"""Pixels -> rays -> points on the ground plane.

Frames follow REP-103: the base frame has x forward, y left, z up and flat ground below the vehicle; the camera's
optical frame has z forward, x right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from m2a_core.geometry.intrinsics import Intrinsics

OPTICAL_TO_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation from a camera's optical frame to its body frame (REP-103)."""

_AROUND = np.array([[-1, 0], [1, 0], [0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]])
"""Where a pixel may be instead, in errors: to its sides, where it is, and in the corners."""
_SIDES, _CORNERS = slice(0, 3), slice(2, 7)


def rotation_matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    """A unit quaternion's rotation, float64 [3, 3]."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """The unit quaternion x, y, z, w (w >= 0) of a rotation, float64 [3, 3].

    It is the eigenvector of the largest eigenvalue of a symmetric matrix, at every angle (Bar-Itzhack, Journal of
    Guidance, Control, and Dynamics, 2000).
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    lower = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [yx + xy, yy - xx - zz, 0, 0],
            [zx + xz, zy + yz, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = (float(value) for value in np.linalg.eigh(lower)[1][:, -1])
    return (x, y, z, w) if w >= 0 else (-x, -y, -z, -w)


@dataclass(frozen=True)
class CameraPose:
    """Where a camera is in the base frame.

    Attributes:
        position: float64 [3], metres.
        rotation: float64 [3, 3], from the optical frame to the base frame.
    """

    position: np.ndarray
    rotation: np.ndarray


MOUNTING_LIMITS = {
    "x": (-100.0, 100.0),
    "y": (-100.0, 100.0),
    "height": (0.05, 100.0),
    "roll": (-3.15, 3.15),
    "pitch": (-1.58, 1.58),
    "yaw": (-3.15, 3.15),
    "pitch_uncertainty": (0.0, 0.5),
}
"""The smallest and the largest value of each field of `Mounting`."""


@dataclass(frozen=True)
class Mounting:
    """Where a camera sits, as parameters tell it.

    Attributes:
        x: metres forward of the base frame's origin.
        y: metres to the left of it.
        height: metres above the ground.
        roll: radians about x; positive lowers the right side.
        pitch: radians about y; positive looks down.
        yaw: radians about z; positive looks to the left.
        pitch_uncertainty: radians by which the true pitch may differ, either way, while driving.
    """

    x: float = 0.0
    y: float = 0.0
    height: float = 1.5
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    pitch_uncertainty: float = 0.01

    def pose(self, ground_z: float = 0.0) -> CameraPose:
        """The camera's pose over ground at ``ground_z`` metres (fixed axes roll, pitch, yaw), read-only."""
        return _mounted(self, ground_z)


@lru_cache(maxsize=64)
def _mounted(mounting: Mounting, ground_z: float) -> CameraPose:
    (cr, cp, cy), (sr, sp, sy) = (f(np.array([mounting.roll, mounting.pitch, mounting.yaw])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    position = np.array([mounting.x, mounting.y, mounting.height + ground_z])
    rotation = about_z @ about_y @ about_x @ OPTICAL_TO_BODY
    for shared in (position, rotation):
        shared.setflags(write=False)
    return CameraPose(position, rotation)


class GroundProjector:
    """Projects pixels of one camera into the base frame.

    Attributes:
        intrinsics: the camera's calibration.
        pose: where the camera is.
        ground_z: metres, where the ground is in the base frame.
    """

    def __init__(
        self, intrinsics: Intrinsics, mounting: Mounting, pose: CameraPose | None = None, ground_z: float = 0.0
    ) -> None:
        """Join a camera's calibration and its place on the vehicle.

        Args:
            intrinsics: the camera's calibration.
            mounting: where the camera sits.
            pose: where it is, if somebody knows better (tf); of the mounting only the uncertainty counts then.
            ground_z: metres, where the ground is in the base frame.
        """
        self.intrinsics = intrinsics
        self.pose = mounting.pose(ground_z) if pose is None else pose
        self.ground_z = ground_z
        self._pitch_uncertainty = mounting.pitch_uncertainty

    @property
    def position(self) -> np.ndarray:
        """The camera's position float64 [3] in the base frame, metres."""
        return self.pose.position

    @property
    def height(self) -> float:
        """Metres of the camera above the ground."""
        return float(self.pose.position[2] - self.ground_z)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing directions float64 [N, 3] in the base frame of pixels [N, 2]; NaN where there is none."""
        rays: np.ndarray = self.intrinsics.rays(pixels) @ self.pose.rotation.T
        return rays

    def ground(self, pixels: np.ndarray) -> np.ndarray:
        """Points where pixels meet the ground.

        Args:
            pixels: [N, 2], x and y.

        Returns:
            float64 [N, 3] in metres, z = ``ground_z``; NaN for pixels at or above the horizon, and for a camera that
            is not above the ground.
        """
        rays = self.rays(pixels)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where((rays[:, 2] < 0) & (self.height > 0), -self.height / rays[:, 2], np.nan)
        points: np.ndarray = self.position + scale[:, None] * rays
        points[:, 2] = np.where(np.isnan(scale), np.nan, self.ground_z)
        return points

    def at_depth(self, pixels: np.ndarray, depth: float) -> np.ndarray:
        """Points that pixels show at a depth.

        Args:
            pixels: [N, 2], x and y.
            depth: metres along the optical axis (REP-118).

        Returns:
            float64 [N, 3] in metres; NaN where there is no ray.
        """
        rays = self.intrinsics.rays(pixels)
        with np.errstate(invalid="ignore", divide="ignore"):
            rays = np.where(rays[:, 2:] > 0, rays / rays[:, 2:], np.nan)
        points: np.ndarray = self.position + depth * rays @ self.pose.rotation.T
        return points

    def bounds(self, pixels: np.ndarray, pixel_error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where pixels' points on flat ground can be, seen from below the camera.

        Args:
            pixels: [N, 2], x and y, of pixels that meet the ground.
            pixel_error: by how much x and y may be off, either way, in pixels.

        Returns:
            Three float64 [N]: the nearest and the farthest distance, metres, the latter infinite where the pixel may as
            well be at the horizon; and radians by which the bearing may be off, either way, by an error in x.
        """
        around = np.asarray(pixels)[:, None] + pixel_error * _AROUND
        rays = self.rays(around.reshape(-1, 2)).reshape(*around.shape[:2], 3)
        x, y, z = rays[..., 0], rays[..., 1], rays[..., 2]
        below, bearings = np.arctan2(-z, np.hypot(x, y))[:, _CORNERS], np.arctan2(y, x)[:, _SIDES]
        steepest = np.fmax.reduce(below, axis=1) + self._pitch_uncertainty
        flattest = np.fmin.reduce(below, axis=1) - self._pitch_uncertainty
        near, far = np.zeros(len(below)), np.full(len(below), np.inf)
        np.divide(self.height, np.tan(steepest), out=near, where=steepest < np.pi / 2)
        np.divide(self.height, np.tan(flattest), out=far, where=flattest > 0)
        turned = bearings - bearings[:, -1:]
        spread: np.ndarray = np.fmax.reduce(np.abs((turned + np.pi) % (2 * np.pi) - np.pi), axis=1)
        return near, far, spread

    def upright(self, pixels: np.ndarray, feet: np.ndarray) -> np.ndarray:
        """Points where pixels meet the vertical plane that stands on a point and faces the camera.

        Args:
            pixels: [N, 2], x and y.
            feet: float64 [3], the point, or [N, 3], that of each pixel.

        Returns:
            float64 [N, 3] in metres; NaN for pixels that look away from the plane.
        """
        rays = self.rays(pixels)
        away = feet - self.position
        normal = away * np.array([1.0, 1.0, 0.0])
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = (away * normal).sum(axis=-1) / (rays * normal).sum(axis=-1)
        scale = np.where(scale > 0, scale, np.nan)
        points: np.ndarray = self.position + scale[:, None] * rays
        return points
