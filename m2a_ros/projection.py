"""Pixels -> rays -> points on the ground plane.

Frames follow REP-103: the base frame has x forward, y left, z up and the ground at z = 0 below the vehicle; the
camera's optical frame has z forward, x right, y down. Distortion models: ``sensor_msgs/CameraInfo`` (REP-104).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from m2a_core.errors import DataError

_OPTICAL_TO_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_FISHEYE = ("equidistant", "fisheye")
_MODELS = {
    "": (0, 4, 5, 8),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    **dict.fromkeys(_FISHEYE, (4,)),
}
_MAX_UNDISTORTION_ERROR_PX = 0.1
_REFINEMENTS = 10


@dataclass(frozen=True)
class Mounting:
    """Where a camera sits in the base frame.

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

    @property
    def position(self) -> np.ndarray:
        """float64 [3], metres in the base frame."""
        return np.array([self.x, self.y, self.height])

    def rotation(self) -> np.ndarray:
        """float64 [3, 3] from the optical frame to the base frame (fixed axes roll, pitch, yaw)."""
        (cr, cp, cy), (sr, sp, sy) = (f(np.array([self.roll, self.pitch, self.yaw])) for f in (np.cos, np.sin))
        about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        return about_z @ about_y @ about_x @ _OPTICAL_TO_BODY


@dataclass(frozen=True)
class Intrinsics:
    """A calibrated camera.

    Attributes:
        size: width, height in pixels that the calibration holds for.
        matrix: float64 [3, 3], K.
        distortion: float64 [N], D.
        model: distortion model.
    """

    size: tuple[int, int]
    matrix: np.ndarray
    distortion: np.ndarray
    model: str = ""

    @classmethod
    def from_camera_info(cls, info: Any) -> Intrinsics:
        """Read a ``sensor_msgs/CameraInfo``, for the image that its region of interest and binning leave.

        Raises:
            DataError: uncalibrated (K is zero), not finite, or a distortion model or number of coefficients unknown.
        """
        matrix = np.array(info.k, np.float64).reshape(3, 3)
        distortion = np.array(info.d, np.float64)
        if not (np.isfinite(matrix).all() and np.isfinite(distortion).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            raise DataError(f"camera_info is uncalibrated: K is {matrix.ravel().tolist()}; calibrate the camera")
        if not distortion.any():
            distortion = np.zeros(0)
        elif distortion.size not in _MODELS.get(info.distortion_model, ()):
            raise DataError(
                f"camera_info: distortion model '{info.distortion_model}' with {distortion.size} coefficients is not "
                f"supported; expected one of {sorted(m for m in _MODELS if m)} with its coefficients"
            )
        roi, binning = info.roi, (max(1, info.binning_x), max(1, info.binning_y))
        matrix[:2, 2] -= (roi.x_offset, roi.y_offset)
        size = (roi.width or info.width, roi.height or info.height)
        whole = cls(size, matrix, distortion, info.distortion_model)
        return whole._resampled((size[0] // binning[0], size[1] // binning[1]))

    def fitted(self, size: tuple[int, int]) -> Intrinsics | None:
        """The calibration for an image that was resized, keeping the aspect.

        Args:
            size: width, height of the image in pixels.

        Returns:
            None when the aspect differs by more than rounding to whole pixels can explain: the image was cropped then,
            and who knows where.
        """
        (width, height), (own_width, own_height) = size, self.size
        if min(own_width, own_height) == 0:
            return None
        if max(abs(width * own_height / own_width - height), abs(height * own_width / own_height - width)) > 1:
            return None
        return self._resampled(size)

    def _resampled(self, size: tuple[int, int]) -> Intrinsics:
        if size == self.size:
            return self
        matrix = self.matrix.copy()
        for axis in (0, 1):
            scale = size[axis] / self.size[axis]
            matrix[axis] *= scale
            # Whole numbers are centres of pixels: the image's edge lies at -0.5 before and after.
            matrix[axis, 2] += 0.5 * scale - 0.5
        return replace(self, size=size, matrix=matrix)

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Undistorted coordinates on the plane z = 1 of the optical frame.

        Args:
            pixels: [N, 2], x and y.

        Returns:
            float64 [N, 2]; NaN where the distortion model cannot be inverted (far outside the calibrated image).
        """
        points = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
        if not self.distortion.size:
            flat = points[:, 0]
            return (flat - self.matrix[:2, 2]) / np.array([self.matrix[0, 0], self.matrix[1, 1]])
        fisheye = self.model in _FISHEYE
        undistort = cv2.fisheye.undistortPoints if fisheye else cv2.undistortPoints
        plane = undistort(points, self.matrix, self.distortion)
        # OpenCV stops after five iterations by default, too early for strong lenses, and does not say so.
        focal = np.array([self.matrix[0, 0], self.matrix[1, 1]])
        with np.errstate(invalid="ignore", over="ignore"):
            for _ in range(_REFINEMENTS):
                plane = plane + (points - self._distort(plane, fisheye)) / focal
        error = np.linalg.norm(self._distort(plane, fisheye) - points, axis=2)
        return np.where(error <= _MAX_UNDISTORTION_ERROR_PX, plane[:, 0], np.nan)

    def _distort(self, plane: np.ndarray, fisheye: bool) -> np.ndarray:
        if fisheye:
            return cv2.fisheye.distortPoints(plane, self.matrix, self.distortion)
        none = np.zeros(3)
        rays = cv2.convertPointsToHomogeneous(plane)
        return cv2.projectPoints(rays, none, none, self.matrix, self.distortion)[0].reshape(-1, 1, 2)


class GroundProjector:
    """Projects pixels of one camera into the base frame."""

    def __init__(self, intrinsics: Intrinsics, mounting: Mounting) -> None:
        """Join a camera's calibration and its place on the vehicle."""
        self.intrinsics = intrinsics
        self.position = mounting.position
        self._rotation = mounting.rotation()
        self._pitch_uncertainty = mounting.pitch_uncertainty

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing directions float64 [N, 3] in the base frame of pixels [N, 2]; NaN where there is none."""
        plane = self.intrinsics.normalized(pixels)
        return np.column_stack([plane, np.ones(len(plane))]) @ self._rotation.T

    def ground(self, pixels: np.ndarray) -> np.ndarray:
        """Points where pixels meet the ground.

        Args:
            pixels: [N, 2], x and y.

        Returns:
            float64 [N, 3] in metres, z = 0; NaN for pixels at or above the horizon.
        """
        rays = self.rays(pixels)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(rays[:, 2] < 0, -self.position[2] / rays[:, 2], np.nan)
        points = self.position + scale[:, None] * rays
        points[:, 2] = np.where(np.isnan(scale), np.nan, 0.0)
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
        steepest = float(np.nanmax(below)) + self._pitch_uncertainty
        flattest = float(np.nanmin(below)) - self._pitch_uncertainty
        height = float(self.position[2])
        near = height / np.tan(steepest) if steepest < np.pi / 2 else 0.0
        return near, height / np.tan(flattest) if flattest > 0 else np.inf

    def upright(self, pixels: np.ndarray, foot: np.ndarray) -> np.ndarray:
        """Points where pixels meet the vertical plane that stands on a point of the ground and faces the camera.

        Args:
            pixels: [N, 2], x and y.
            foot: float64 [3], the point on the ground.

        Returns:
            float64 [N, 3] in metres; NaN for pixels that look away from the plane.
        """
        rays = self.rays(pixels)
        normal = (foot - self.position) * np.array([1.0, 1.0, 0.0])
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = (foot - self.position) @ normal / (rays @ normal)
        scale = np.where(scale > 0, scale, np.nan)
        return self.position + scale[:, None] * rays
