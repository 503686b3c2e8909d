"""Parameters ``camera.NAME.*``: how one camera's images are read, and how the network looks at them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m2a_core.errors import ConfigError
from m2a_core.stream.config import IMAGE, NETWORK, Resolution
from m2a_ros.parameters.spec import TRANSPORTS, ParameterSpec

AS_ALL = "default"
"""Value of ``camera.NAME.transport`` that stands for ``transport``."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_SIDES = (16, 16384)

AS_ALL_RATE = -1.0
"""Value of ``camera.NAME.max_rate`` that stands for ``max_rate``."""


@dataclass(frozen=True)
class BatchConfig:
    """What belongs together.

    Attributes:
        anchor: the camera that sets the pace; empty for no batches.
        max_spread: seconds that stamps may lie from the anchor's.
        wait: seconds after the anchor's arrival that the others have to come.
    """

    anchor: str = ""
    max_spread: float = 0.05
    wait: float = 0.03


@dataclass(frozen=True)
class CameraSettings:
    """How one camera is read.

    Attributes:
        transport: ``auto``, ``raw`` or ``compressed``.
        max_rate: frames a second, 0 for no limit.
        rectify: whether images are undistorted by their ``camera_info`` first; all outputs are then rectified.
        crop: whether the network sees the largest part of the image that has its aspect, instead of all with padding.
        crop_center: where that part lies, 0 top or left, 1 bottom or right.
        resolution: of the maps: ``image``, ``network`` or ``WIDTHxHEIGHT``.
    """

    transport: str = "auto"
    max_rate: float = 0.0
    rectify: bool = False
    crop: bool = False
    crop_center: float = 0.5
    resolution: str = IMAGE

    @classmethod
    def from_values(cls, camera: str, values: Mapping[str, Any]) -> CameraSettings:
        """Read one camera's parameters, and those for all cameras where it leaves it to them."""
        own = {name: values[f"camera.{camera}.{name}"] for name in _NAMES}
        if own["transport"] == AS_ALL:
            own["transport"] = values["transport"]
        if own["max_rate"] < 0:
            own["max_rate"] = values["max_rate"]
        if own["resolution"] == AS_ALL:
            own["resolution"] = values["output.resolution"]
        return cls(**own)


_NAMES = ("transport", "max_rate", "rectify", "crop", "crop_center", "resolution")


def camera_parameters(camera: str) -> tuple[ParameterSpec, ...]:
    """The parameters that say how one camera is read."""
    prefix, who = f"camera.{camera}", f"Camera '{camera}': "
    return (
        ParameterSpec(
            f"{prefix}.transport",
            AS_ALL,
            f"{who}which image topic to read; default stands for 'transport'.",
            choices=(AS_ALL, *TRANSPORTS),
        ),
        ParameterSpec(
            f"{prefix}.max_rate",
            AS_ALL_RATE,
            f"{who}frames a second to process at most; 0 for no limit, -1 for 'max_rate'.",
            (0.0, 1000.0),
            special=AS_ALL_RATE,
            live=True,
        ),
        ParameterSpec(
            f"{prefix}.rectify",
            False,
            f"{who}undistort its images by K, D, R and P of camera_info; its outputs are then rectified.",
            live=True,
        ),
        ParameterSpec(
            f"{prefix}.crop",
            False,
            f"{who}give the network the largest part of the image that has its aspect, not all of it with padding; "
            "outside that part the outputs are unlabelled.",
            live=True,
        ),
        ParameterSpec(
            f"{prefix}.crop_center",
            0.5,
            f"{who}where that part lies: 0 top or left, 1 bottom or right.",
            (0.0, 1.0),
            live=True,
        ),
        ParameterSpec(
            f"{prefix}.resolution",
            AS_ALL,
            f"{who}size of its maps: image, network or WIDTHxHEIGHT; default stands for 'output.resolution'.",
            live=True,
        ),
    )


def parse_resolution(text: str, parameter: str) -> Resolution:
    """Read ``image``, ``network`` or ``WIDTHxHEIGHT``.

    Raises:
        ConfigError: it is none of them, or a side is not from 16 to 16384 pixels.
    """
    if text in (IMAGE, NETWORK):
        return text
    found = _SIZE.fullmatch(text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(_SIDES[0] <= side <= _SIDES[1] for side in size):
        raise ConfigError(
            f"parameter '{parameter}' is {text!r:.80}; expected image, network or WIDTHxHEIGHT with sides from "
            f"{_SIDES[0]} to {_SIDES[1]} pixels, such as 640x360"
        )
    return size
