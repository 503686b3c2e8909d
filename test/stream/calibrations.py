"""Calibrations without ROS: objects with the fields of ``sensor_msgs/CameraInfo``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


def calibration(width: int, height: int, k: list[float], p: list[float]) -> Any:
    """A pinhole camera without distortion: K, row by row, and P, row by row."""
    return SimpleNamespace(
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k,
        r=np.eye(3).ravel().tolist(),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    )
