"""A calibrated camera: pixels -> rays of its optical frame, from ``sensor_msgs/CameraInfo`` (REP-104).

An image as the camera took it follows K and D; a rectified one (image_rect) follows P. Rays are those of the rectified
orientation in both cases, as in ROS's image_geometry: for a stereo camera the optical frame is the one R turns to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from m2a_core.errors import DataError

_FISHEYE = ("equidistant", "fisheye")
_MODELS = {
    "": (0, 4, 5, 8),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    **dict.fromkeys(_FISHEYE, (4,)),
}
_MAX_UNDISTORTION_ERROR_PX = 0.1
_REFINEMENTS = 10
_MAX_ROTATION_ERROR = 1e-3


@dataclass(frozen=True)
class Intrinsics:
    """A calibrated camera.

    Attributes:
        size: width, height in pixels that the calibration holds for.
        matrix: float64 [3, 3], K.
        distortion: float64 [N], D.
        model: distortion model.
        rotation: float64 [3, 3], R: from the camera's own orientation to that of the optical frame.
    """

    size: tuple[int, int]
    matrix: np.ndarray
    distortion: np.ndarray
    model: str = ""
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))

    @classmethod
    def from_camera_info(cls, info: Any, rectified: bool = False) -> Intrinsics:
        """Read a ``sensor_msgs/CameraInfo``, for the image that its region of interest and binning leave.

        Args:
            info: the message.
            rectified: the image is rectified: P holds (K where P is zero), and the image is free of distortion. A P
                that shifts the second camera of a stereo pair (Tx) is read without the shift: rays start at the
                camera itself.

        Raises:
            DataError: uncalibrated (K is zero), not finite, R is no rotation, one side of the image is 0, or a
                distortion model or number of coefficients unknown.
        """
        projection = np.array(info.p, np.float64).reshape(3, 4)[:, :3]
        name, numbers = ("P", projection) if rectified and projection.any() else ("K", np.array(info.k))
        matrix = np.array(numbers, np.float64).reshape(3, 3)
        distortion = np.zeros(0) if rectified else np.array(info.d, np.float64)
        if not (np.isfinite(matrix).all() and np.isfinite(distortion).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            raise DataError(f"camera_info is uncalibrated: {name} is {matrix.ravel().tolist()}; calibrate the camera")
        rotation = np.eye(3) if rectified else _rotation(np.array(info.r, np.float64).reshape(3, 3))
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
        if min(size) == 0 < max(size):
            raise DataError(f"camera_info is for images of {size[0]}x{size[1]}; correct the driver")
        whole = cls(size, matrix, distortion, info.distortion_model, rotation)
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

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing directions float64 [N, 3] in the optical frame of pixels [N, 2]; NaN where there is none.

        Without a rotation R their z is 1, so that they give a point when multiplied by its depth.
        """
        plane = self.normalized(pixels)
        return np.column_stack([plane, np.ones(len(plane))]) @ self.rotation.T

    def _distort(self, plane: np.ndarray, fisheye: bool) -> np.ndarray:
        if fisheye:
            return cv2.fisheye.distortPoints(plane, self.matrix, self.distortion)
        none = np.zeros(3)
        rays = cv2.convertPointsToHomogeneous(plane)
        return cv2.projectPoints(rays, none, none, self.matrix, self.distortion)[0].reshape(-1, 1, 2)


def _rotation(matrix: np.ndarray) -> np.ndarray:
    """R of a ``camera_info``; many drivers leave it zero, which stands for none."""
    if not matrix.any():
        return np.eye(3)
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=_MAX_ROTATION_ERROR) or np.linalg.det(matrix) < 0:
        raise DataError(f"camera_info: R is {matrix.ravel().tolist()}, which is no rotation; calibrate the camera")
    return matrix
