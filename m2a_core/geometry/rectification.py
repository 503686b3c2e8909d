"""Rectifying a camera's images by its ``camera_info``: K, D and R of the camera, P of the rectified image (REP-104)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.geometry.intrinsics import Intrinsics, has_projection


class NotRectifiable(DataError):
    """There is no calibration to rectify an image by.

    Attributes:
        reason: ``no_camera_info``, ``bad_camera_info`` or ``camera_info_of_other_aspect``.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Set the reason beside the message."""
        super().__init__(message)
        self.reason = reason


class Rectifier:
    """Undistorts the images of one camera; the tables are made again when its ``camera_info`` changes."""

    def __init__(self) -> None:
        """Start without tables."""
        self._made_for: tuple[Any, ...] | None = None
        self._tables: tuple[np.ndarray, np.ndarray] | None = None

    def apply(self, image: np.ndarray, info: Any) -> np.ndarray:
        """Rectify an image.

        Args:
            image: uint8 [H, W, 3].
            info: the camera's ``sensor_msgs/CameraInfo``, of the image's size or aspect, or None.

        Returns:
            uint8 [H, W, 3], what a camera without distortion with P (K where P is zero) sees; black where the camera
            saw nothing. The image itself where there is no distortion (a fisheye always has some), no R, and P is K.

        Raises:
            NotRectifiable: no ``camera_info``, or one that is uncalibrated, unknown or of another aspect.
        """
        if info is None:
            raise NotRectifiable("no_camera_info", "images cannot be rectified: no camera_info has arrived yet")
        size = (image.shape[1], image.shape[0])
        key = (
            size,
            info.width,
            info.height,
            info.distortion_model,
            bytes(_numbers(info)),
            str(info.roi),
            info.binning_x,
            info.binning_y,
        )
        if key != self._made_for:
            self._tables = _tables(info, size)
            self._made_for = key
        if self._tables is None:
            return image
        rectified: np.ndarray = cv2.remap(image, *self._tables, cv2.INTER_LINEAR)
        return rectified


def rectified_info(info: Any) -> Any:
    """The ``camera_info`` of the rectified image: P (K where P is zero) without distortion and without R."""
    made = deepcopy(info)
    if has_projection(info):
        made.k = np.array(info.p, np.float64).reshape(3, 4)[:, :3].ravel()
    made.distortion_model, made.d, made.r = "plumb_bob", np.zeros(5), np.eye(3).ravel()
    return made


def _numbers(info: Any) -> np.ndarray:
    return np.concatenate([np.array(values, np.float64) for values in (info.d, info.k, info.r, info.p)])


def _tables(info: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Where each pixel of the rectified image comes from, in OpenCV's fixed-point form; None where nothing moves."""
    try:
        seen = Intrinsics.from_camera_info(info).fitted(size)
        wanted = Intrinsics.from_camera_info(info, rectified=True).fitted(size)
    except DataError as error:
        raise NotRectifiable("bad_camera_info", str(error)) from error
    if seen is None or wanted is None:
        raise NotRectifiable(
            "camera_info_of_other_aspect",
            f"images are {size[0]}x{size[1]}, camera_info is for {info.width}x{info.height}: other aspect; "
            "calibrate the camera in the size that it sends",
        )
    if seen.is_fisheye:
        make = cv2.fisheye.initUndistortRectifyMap
    elif not seen.distortion.size and np.array_equal(seen.matrix, wanted.matrix) and (seen.rotation == np.eye(3)).all():
        return None
    else:
        make = cv2.initUndistortRectifyMap
    columns, rows = make(seen.matrix, seen.distortion, seen.rotation, wanted.matrix, size, cv2.CV_16SC2)
    return columns, rows
