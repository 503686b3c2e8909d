"""What broken drivers send: raw and compressed images, by what is wrong, with the reason that they are counted by."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image

from test.ros.messages import compressed, image, scene

RED_BOX = (56, 64, 72, 80)


def raw(stamp: int, **changes: Any) -> Image:
    message = image(scene(RED_BOX), stamp)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def bad_raw() -> dict[str, tuple[str, dict[str, Any]]]:
    good = scene(RED_BOX).tobytes()
    return {
        "unknown encoding": ("unknown_encoding", {"encoding": "rgb9"}),
        "empty encoding": ("unknown_encoding", {"encoding": ""}),
        "encoding of control characters": ("unknown_encoding", {"encoding": "\x00\n\x7f"}),
        "step too small": ("size_mismatch", {"step": 3 * 128 - 1}),
        "step zero": ("size_mismatch", {"step": 0}),
        "largest step": ("size_mismatch", {"step": 2**32 - 1}),
        "largest size": ("size_mismatch", {"height": 2**32 - 1, "width": 2**32 - 1}),
        "data short": ("size_mismatch", {"data": good[:-1]}),
        "data long": ("size_mismatch", {"data": good + b"\0"}),
        "no data": ("size_mismatch", {"data": b""}),
        "no rows": ("empty", {"height": 0}),
        "no columns": ("empty", {"width": 0}),
        "nothing at all": ("empty", {"height": 0, "width": 0, "step": 0, "data": b""}),
        "channels without colour": ("unconvertible", {"encoding": "8UC3"}),
        "a depth image": ("unconvertible", {"encoding": "32FC1", "width": 96}),
        "nv12 of odd height": ("size_mismatch", {"encoding": "nv12", "height": 95, "width": 384}),
        "yuyv of odd width": ("unconvertible", {"encoding": "yuyv", "width": 127, "step": 254, "data": bytes(24384)}),
    }


def bad_compressed() -> dict[str, tuple[str, bytes, str]]:
    """Reason, data and format."""
    jpeg, png = (bytes(compressed(scene(RED_BOX), 1, kind).data) for kind in (".jpg", ".png"))
    depth = cv2.imencode(".png", np.full((96, 128), 2000, np.uint16))[1].tobytes()
    bitmap = cv2.imencode(".bmp", scene(RED_BOX))[1].tobytes()
    return {
        "no data": ("empty", b"", "jpeg"),
        "text": ("undecodable", b"no camera today", "jpeg"),
        "zeros": ("undecodable", bytes(1000), "jpeg"),
        "half a jpeg": ("undecodable", jpeg[: len(jpeg) // 2], "jpeg"),
        "half a png": ("undecodable", png[: len(png) // 2], "jpeg"),
        "a jpeg's two ends": ("undecodable", jpeg[:4] + jpeg[-2:], "jpeg"),
        "a png of nothing": ("undecodable", png[:8] + png[-12:], "jpeg"),
        "a png of four thousand million pixels": ("too_large", png[:16] + b"\0\0\xff\xff" * 2 + png[24:], "jpeg"),
        "depth as png": ("unconvertible", depth, "16UC1; png compressed "),
        "another codec": ("undecodable", bitmap, "bmp"),
    }
