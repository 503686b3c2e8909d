"""Pixels -> rays -> points on the ground plane.

Frames follow REP-103: the base frame has x forward, y left, z up and flat ground below the vehicle; the camera's
optical frame has z forward, x right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2a_core.geometry.intrinsics import Intrinsics

OPTICAL_TO_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation from a camera's optical frame to its body frame (REP-103)."""


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
        """The camera's pose over ground at ``ground_z`` metres (fixed axes roll, pitch, yaw)."""
        (cr, cp, cy), (sr, sp, sy) = (f(np.array([self.roll, self.pitch, self.yaw])) for f in (np.cos, np.sin))
        about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        position = np.array([self.x, self.y, self.height + ground_z])
        return CameraPose(position, about_z @ about_y @ about_x @ OPTICAL_TO_BODY)


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

    def distance_bounds(self, pixel: tuple[float, float], pixel_error: float) -> tuple[float, float]:
        """The nearest and farthest that a pixel's point on flat ground can be, from below the camera.

        Args:
            pixel: x and y, of a pixel that meets the ground.
            pixel_error: by how much x and y may be off, either way, in pixels.

        Returns:
            Metres; the farthest is infinite where the pixel may as well be at the horizon.
        """
        offsets = pixel_error * np.array([[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]])
        rays = self.rays(np.array(pixel) + offsets)
        below = np.arctan2(-rays[:, 2], np.hypot(rays[:, 0], rays[:, 1]))
        steepest = float(np.fmax.reduce(below)) + self._pitch_uncertainty
        flattest = float(np.fmin.reduce(below)) - self._pitch_uncertainty
        near = self.height / np.tan(steepest) if steepest < np.pi / 2 else 0.0
        return near, self.height / np.tan(flattest) if flattest > 0 else np.inf

    def bearing_spread(self, pixel: tuple[float, float], pixel_error: float) -> float:
        """Radians by which the bearing of a pixel's ray may be off, either way, by an error in pixels."""
        offsets = pixel_error * np.array([[0, 0], [-1, 0], [1, 0]])
        rays = self.rays(np.array(pixel) + offsets)
        bearings = np.arctan2(rays[:, 1], rays[:, 0]) - np.arctan2(rays[0, 1], rays[0, 0])
        return float(np.fmax.reduce(np.abs((bearings + np.pi) % (2 * np.pi) - np.pi)))

    def upright(self, pixels: np.ndarray, foot: np.ndarray) -> np.ndarray:
        """Points where pixels meet the vertical plane that stands on a point and faces the camera.

        Args:
            pixels: [N, 2], x and y.
            foot: float64 [3], the point.

        Returns:
            float64 [N, 3] in metres; NaN for pixels that look away from the plane.
        """
        rays = self.rays(pixels)
        normal = (foot - self.position) * np.array([1.0, 1.0, 0.0])
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = (foot - self.position) @ normal / (rays @ normal)
        scale = np.where(scale > 0, scale, np.nan)
        points: np.ndarray = self.position + scale[:, None] * rays
        return points
