"""Messages for the tests."""

from __future__ import annotations

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from m2a_core.types import Frame

FRAME_ID = "front_camera_optical"


def header(stamp: int) -> Header:
    """A header at ``stamp`` seconds and some odd nanoseconds."""
    return Header(stamp=Time(sec=stamp, nanosec=123456789), frame_id=FRAME_ID)


def image(rgb: np.ndarray, stamp: int, encoding: str = "rgb8") -> Image:
    """An Image written field by field, not with the code under test."""
    pixels = {"rgb8": rgb, "bgr8": rgb[..., ::-1]}[encoding]
    height, width = rgb.shape[:2]
    return Image(
        header=header(stamp), height=height, width=width, encoding=encoding, step=3 * width, data=pixels.tobytes()
    )


def compressed(rgb: np.ndarray, stamp: int, extension: str) -> CompressedImage:
    done, data = cv2.imencode(extension, np.ascontiguousarray(rgb[..., ::-1]))
    assert done
    return CompressedImage(header=header(stamp), format=extension[1:], data=data.tobytes())


def camera_info(width: int, height: int, focal: float, stamp: int = 1) -> CameraInfo:
    matrix = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(stamp), width=width, height=height, distortion_model="plumb_bob", k=matrix)


def scene(red_box: tuple[int, int, int, int] | None, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Blue sky over green road with a red object at x0, y0, x1, y1: what ``test.tiny_bundle`` recognises."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[: size[0] // 2] = (0, 0, 255)
    rgb[size[0] // 2 :] = (0, 255, 0)
    if red_box:
        x0, y0, x1, y1 = red_box
        rgb[y0:y1, x0:x1] = (255, 0, 0)
    return rgb


def frame(rgb: np.ndarray) -> Frame:
    return Frame(np.ascontiguousarray(rgb))
