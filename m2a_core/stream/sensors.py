"""What is known beside a camera's image: its calibration, its pose, depth images."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m2a_core.errors import DataError
from m2a_core.geometry.depth import depth_in_metres
from m2a_core.geometry.projection import CameraPose
from m2a_core.types import Frame

_KEPT = 8


class NoTransform(DataError):
    """The camera's place is unknown."""


class DepthBuffer:
    """The latest depth images of one camera, by stamp; written by one thread and read by another."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._messages: deque[tuple[int, Any]] = deque(maxlen=_KEPT)

    def put(self, stamp_ns: int, message: Any) -> None:
        """Keep a ``sensor_msgs/Image``."""
        with self._lock:
            self._messages.append((stamp_ns, message))

    def nearest(self, stamp_ns: int, tolerance_s: float) -> Any | None:
        """The message with the nearest stamp, or None when none is within the tolerance."""
        with self._lock:
            # The latest first: it is taken where a driver stamps all alike.
            messages = list(reversed(self._messages))
        if not messages:
            return None
        stamp, message = min(messages, key=lambda pair: abs(pair[0] - stamp_ns))
        return message if abs(stamp - stamp_ns) <= 1e9 * tolerance_s else None

    def metres(self, stamp_ns: int, tolerance_s: float) -> np.ndarray | None:
        """The depth image that belongs to a stamp: float32 [h, w], metres, NaN where unknown; None where there is none.

        Raises:
            DataError: it is not a depth image, or is cut short.
        """
        message = self.nearest(stamp_ns, tolerance_s)
        return None if message is None else depth_in_metres(message)


@dataclass(frozen=True)
class Sensors:
    """What is known beside an image.

    Attributes:
        camera_info: the camera's ``sensor_msgs/CameraInfo``, or whatever has its fields, or None; a new object
            where it changes.
        pose: the camera's pose in the base frame at a frame's stamp; raises ``NoTransform``. None: as mounted.
        depth: depth images, registered to the camera's.
    """

    camera_info: Any | None = None
    pose: Callable[[Frame], CameraPose] | None = None
    depth: DepthBuffer = field(default_factory=DepthBuffer)
