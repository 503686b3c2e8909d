"""The ``camera_info`` of an image in another size."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from m2a_core.errors import DataError
from m2a_core.geometry.intrinsics import is_resized, size_of


def scaled_info(info: Any, image: tuple[int, int], size: tuple[int, int]) -> Any:
    """Scale a calibration as ``image_proc``'s resize node does: K, P and the region of interest.

    Args:
        info: ``sensor_msgs/CameraInfo`` of the image; may state the full sensor, with binning or a region of interest.
        image: height, width of the image.
        size: height, width of what the result is to describe.

    Returns:
        A copy that describes images of ``size``. Distortion and R stay: they do not depend on the size.

    Raises:
        DataError: the calibration is not that of the image, whose aspect is another; or it states no size.
    """
    own, seen = size_of(info), (image[1], image[0])
    if not is_resized(own, seen):
        raise DataError(
            f"camera_info is for images of {own[0]}x{own[1]}, the images have {seen[0]}x{seen[1]}: no camera_info is "
            "published for the maps; calibrate the camera, or correct the driver"
        )
    made = deepcopy(info)
    is_part = info.roi.width not in (0, info.width) or info.roi.height not in (0, info.height)
    if is_part or max(info.binning_x, info.binning_y) > 1:
        # K is the sensor's: so are the sizes, which are scaled with it.
        y, x = size[0] / (info.roi.height or info.height), size[1] / (info.roi.width or info.width)
        made.height, made.width = round(info.height * y), round(info.width * x)
        made.roi.x_offset, made.roi.width = round(info.roi.x_offset * x), round(info.roi.width * x)
        made.roi.y_offset, made.roi.height = round(info.roi.y_offset * y), round(info.roi.height * y)
    else:
        # A driver that scales images may leave the calibration in the size that it was made in.
        y, x = size[0] / info.height, size[1] / info.width
        made.height, made.width = size
        made.roi.x_offset = made.roi.y_offset = made.roi.width = made.roi.height = 0
    made.binning_x = made.binning_y = 0
    made.k = np.array(info.k, np.float64) * np.repeat((x, y, 1.0), 3)
    made.p = np.array(info.p, np.float64) * np.repeat((x, y, 1.0), 4)
    return made
