"""Messages for a bag, made without ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from m2a_ros.bag.reader import COMPRESSED, IMAGE, TYPESTORE
from m2a_ros.images.conversions import JPEG_FORMAT, JPEG_QUALITY, image_fields


def stamped(stamp_ns: int, frame_id: str) -> Any:
    """A ``std_msgs/Header``."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPESTORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def raw_image(header: Any, pixels: np.ndarray, encoding: str) -> Any:
    """A ``sensor_msgs/Image`` of pixels [H, W] or [H, W, C] that have the encoding's dtype and channels."""
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    return TYPESTORE.types[IMAGE](header=header, **image_fields(pixels, encoding), data=data)


def encoded(header: Any, rgb: np.ndarray, png: bool = False) -> Any:
    """A ``sensor_msgs/CompressedImage``, JPEG or PNG, of uint8 [H, W, 3], RGB."""
    name, options = ("png", []) if png else (JPEG_FORMAT, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    done, data = cv2.imencode(".png" if png else ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    assert done
    return TYPESTORE.types[COMPRESSED](header=header, format=name, data=data.ravel())
