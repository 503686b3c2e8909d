"""A calibrated camera: pixels -> rays of its optical frame, from ``sensor_msgs/CameraInfo`` (REP-104).

An image as the camera took it follows K and D; a rectified one (image_rect) follows P. Rays are those of the rectified
orientation in both cases, as in ROS's image_geometry: for a stereo camera the optical frame is the one R turns to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from m2a_core.errors import DataError
from m2a_core.geometry.lens import FISHEYE, check_distortion, directions

_MAX_ROTATION_ERROR = 1e-3
_MAX_SKEW = 1e-6


@dataclass(frozen=True)
class Intrinsics:
    """A calibrated camera.

    Attributes:
        size: width, height in pixels that the calibration holds for.
        matrix: float64 [3, 3], K.
        distortion: float64 [N], D; empty without distortion, [4] for a fisheye, zeros included.
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
            DataError: uncalibrated (K is zero), not finite, with skew, R is not a rotation, one side of the image is 0,
                or a distortion model or number of coefficients unknown.
        """
        matrix = _matrix(info, rectified)
        rotation = np.eye(3) if rectified else _rotation(np.array(info.r, np.float64).reshape(3, 3))
        coefficients = np.array(info.d, np.float64)
        if not rectified and not np.isfinite(coefficients).all():
            raise DataError(f"camera_info is uncalibrated: D is {coefficients.tolist()}; calibrate the camera")
        model = "" if rectified else info.distortion_model
        distortion = np.zeros(0) if rectified else check_distortion(model, coefficients)
        roi = info.roi
        matrix[:2, 2] -= (roi.x_offset, roi.y_offset)
        size = (roi.width or info.width, roi.height or info.height)
        if min(size) == 0 < max(size):
            raise DataError(f"camera_info is for images of {size[0]}x{size[1]}; correct the driver")
        whole = cls(size, matrix, distortion, model, rotation)
        return whole._resampled(size_of(info))

    def fitted(self, size: tuple[int, int]) -> Intrinsics | None:
        """The calibration for an image that was resized, keeping the aspect.

        Args:
            size: width, height of the image in pixels.

        Returns:
            None when the aspect differs by more than rounding to whole pixels can explain: the image was cropped then,
            and who knows where.
        """
        return self._resampled(size) if is_resized(self.size, size) else None

    def _resampled(self, size: tuple[int, int]) -> Intrinsics:
        if size == self.size:
            return self
        matrix = self.matrix.copy()
        for axis in (0, 1):
            scale = size[axis] / self.size[axis]
            matrix[axis] *= scale
            # Whole numbers are centres of pixels: the image's edge lies at -0.5 before and after. image_geometry only
            # divides the centre by the binning, which is a quarter of a pixel off at 2.
            matrix[axis, 2] += 0.5 * scale - 0.5
        return replace(self, size=size, matrix=matrix)

    @property
    def is_fisheye(self) -> bool:
        """Whether the radius in the image grows with the angle to the optical axis and not with its tangent."""
        return self.model in FISHEYE

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing directions float64 [N, 3] in the optical frame of pixels [N, 2]; NaN where there is none.

        Without a rotation R their z is 1 where the camera looks ahead, so that they give a point when multiplied by
        its depth; 90 degrees and more off the axis of a fisheye it is 0 and less.
        """
        rays: np.ndarray = directions(pixels, self.matrix, self.model, self.distortion) @ self.rotation.T
        return rays


def size_of(info: Any) -> tuple[int, int]:
    """Width, height of the image that the region of interest and the binning of a ``CameraInfo`` leave, in pixels."""
    roi = info.roi
    return (
        (roi.width or info.width) // max(1, info.binning_x),
        (roi.height or info.height) // max(1, info.binning_y),
    )


def is_resized(own: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether an image of width, height ``size`` may be one of ``own`` in another size: with the same aspect."""
    (own_width, own_height), (width, height) = own, size
    if min(own) == 0:
        return False
    return max(abs(width * own_height / own_width - height), abs(height * own_width / own_height - width)) <= 1


class CalibrationReader:
    """Reads one camera's calibration, and keeps what it read as long as message and size of the images stay."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._info: Any = None
        self._key: tuple[bool, tuple[int, int]] | None = None
        self._intrinsics: Intrinsics | None = None

    def read(self, info: Any, rectified: bool, size: tuple[int, int]) -> Intrinsics | None:
        """What ``Intrinsics.from_camera_info`` and ``Intrinsics.fitted`` give.

        Args:
            info: the message; one that was changed is a new object.
            rectified: see ``Intrinsics.from_camera_info``.
            size: width, height of the image in pixels.

        Raises:
            DataError: see ``Intrinsics.from_camera_info``.
        """
        if info is not self._info or self._key != (rectified, size):
            self._intrinsics = Intrinsics.from_camera_info(info, rectified).fitted(size)
            self._info, self._key = info, (rectified, size)
        return self._intrinsics


def has_projection(info: Any) -> bool:
    """Whether a ``camera_info`` says how a rectified image is projected: many drivers leave P zero."""
    return bool(np.array(info.p, np.float64)[[0, 5]].any())


def _matrix(info: Any, rectified: bool) -> np.ndarray:
    """K, or P without its shift: focal lengths and centre, the rest as it must be."""
    if rectified and has_projection(info):
        name, given = "P", np.array(info.p, np.float64).reshape(3, 4)[:, :3]
    else:
        name, given = "K", np.array(info.k, np.float64).reshape(3, 3)
    (fx, skew, cx), (_, fy, cy), _ = given
    if not (np.isfinite(given).all() and fx > 0 and fy > 0):
        raise DataError(f"camera_info is uncalibrated: {name} is {given.ravel().tolist()}; calibrate the camera")
    if abs(skew) > _MAX_SKEW * fx:
        raise DataError(
            f"camera_info: {name} has a skew of {skew}, expected [fx 0 cx; 0 fy cy; 0 0 1]: calibrate without skew"
        )
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _rotation(matrix: np.ndarray) -> np.ndarray:
    """R of a ``camera_info``; many drivers leave it zero, which stands for none."""
    if not matrix.any():
        return np.eye(3)
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=_MAX_ROTATION_ERROR) or np.linalg.det(matrix) < 0:
        raise DataError(f"camera_info: R is {matrix.ravel().tolist()}, which is not a rotation; calibrate the camera")
    return matrix
