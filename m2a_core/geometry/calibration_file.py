"""A camera's calibration from a YAML file as ROS's ``camera_calibration`` writes it, and its mounting from text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from m2a_core.errors import MALFORMED, ConfigError, DataError, shown
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.projection import MOUNTING_LIMITS, Mounting
from m2a_core.yaml_file import read_yaml

_MATRICES = {
    "k": "camera_matrix",
    "d": "distortion_coefficients",
    "r": "rectification_matrix",
    "p": "projection_matrix",
}


def read_calibration(path: Path) -> Any:
    """Read a calibration.

    Args:
        path: YAML with ``image_width``, ``image_height``, ``distortion_model``, ``camera_matrix`` and so on
            (https://docs.ros.org/en/api/camera_calibration_parsers/html/).

    Returns:
        An object with the fields of ``sensor_msgs/CameraInfo``.

    Raises:
        DataError: the file cannot be read, or is not a calibration.
    """
    try:
        data: Any = read_yaml(path)
        matrices = {
            field: np.array(data[name]["data"] if name in data else [], np.float64) for field, name in _MATRICES.items()
        }
        info = SimpleNamespace(
            width=int(data["image_width"]),
            height=int(data["image_height"]),
            distortion_model=str(data["distortion_model"]),
            binning_x=0,
            binning_y=0,
            roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
            d=matrices["d"],
            k=matrices["k"],
            r=matrices["r"] if matrices["r"].size else np.zeros(9),
            p=matrices["p"] if matrices["p"].size else np.zeros(12),
        )
        if (info.k.size, info.r.size, info.p.size) != (9, 9, 12):
            raise ValueError("camera_matrix needs 9, rectification_matrix 9 and projection_matrix 12 numbers")
    except (OSError, yaml.YAMLError, *MALFORMED) as error:
        raise DataError(
            f"calibration {path}: cannot be read as a file of ROS's camera_calibration ("
            f"{shown(error)}); it needs image_width, image_height, distortion_model and camera_matrix"
        ) from error
    Intrinsics.from_camera_info(info)
    return info


def parse_mounting(text: str) -> Mounting:
    """Read ``height=METRES[,pitch=RADIANS,...]``.

    Raises:
        ConfigError: the text is not a mounting, lacks the height, or a value is out of ``MOUNTING_LIMITS``.
    """
    values: dict[str, float] = {}
    try:
        for name, number in (part.split("=") for part in text.split(",")):
            if name in values or name not in MOUNTING_LIMITS:
                raise ValueError
            values[name] = float(number)
    except ValueError:
        values = {}
    if "height" not in values:
        raise ConfigError(
            f"--mounting {text}: expected height=METRES[,pitch=RADIANS]; known are {', '.join(MOUNTING_LIMITS)}, each "
            "once"
        )
    for name, value in values.items():
        low, high = MOUNTING_LIMITS[name]
        if not low <= value <= high:
            raise ConfigError(f"--mounting {text}: {name} is in {low}..{high} (metres, radians)")
    return Mounting(**values)
