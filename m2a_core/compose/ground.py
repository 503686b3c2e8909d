"""Pinhole camera above a flat road, and the car's motion over it.

Two frames of reference: the road frame is metric, fixed to the road, with X to the right, Z ahead and height up; the
camera follows REP-103's optical frame (x right, y down, z forward) and is pitched about its x axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2a_core.errors import ConfigError


@dataclass(frozen=True)
class GroundCamera:
    """A camera at a height above the road, without distortion.

    Attributes:
        width: image width in pixels.
        height: image height in pixels.
        focal: focal length in pixels, the same for both axes.
        center: principal point x, y in pixels.
        above_road: metres from the road to the optical centre.
        pitch: radians; positive when the camera looks down.

    Raises:
        ConfigError: a length or the focal length is not positive.
    """

    width: int
    height: int
    focal: float
    center: tuple[float, float]
    above_road: float
    pitch: float

    def __post_init__(self) -> None:
        """Validate."""
        if min(self.width, self.height, self.focal, self.above_road) <= 0:
            raise ConfigError(
                "camera: width, height, focal and above_road must be positive, got "
                f"{self.width}, {self.height}, {self.focal}, {self.above_road}"
            )

    def horizon(self, pitch: float = 0.0) -> float:
        """Image row, in pixels, of the horizon when the car's body adds ``pitch`` radians."""
        return self.center[1] - self.focal * float(np.tan(self.pitch + pitch))

    def project(self, points: np.ndarray, pitch: float = 0.0) -> np.ndarray:
        """Project points of the car's road frame.

        Args:
            points: float [N, 3], X right, height above the road, Z ahead of the camera, in metres.
            pitch: radians that the car's body adds to the camera's pitch.

        Returns:
            float64 [N, 3]: x and y in pixels and the depth along the optical axis in metres (<= 0: behind).
        """
        c, s = np.cos(self.pitch + pitch), np.sin(self.pitch + pitch)
        down = self.above_road - points[:, 1]
        y = c * down - s * points[:, 2]
        depth = s * down + c * points[:, 2]
        return np.stack(
            [self.center[0] + self.focal * points[:, 0] / depth, self.center[1] + self.focal * y / depth, depth], axis=1
        )

    def to_road(self, pixels: np.ndarray, pitch: float = 0.0) -> np.ndarray:
        """Meet the road with the rays through pixels below the horizon.

        Args:
            pixels: float [N, 2], x and y.
            pitch: radians that the car's body adds to the camera's pitch.

        Returns:
            float64 [N, 2]: X right and Z ahead of the camera, in metres.
        """
        c, s = np.cos(self.pitch + pitch), np.sin(self.pitch + pitch)
        x = (pixels[:, 0] - self.center[0]) / self.focal
        y = (pixels[:, 1] - self.center[1]) / self.focal
        scale = self.above_road / (c * y + s)
        return np.stack([x * scale, (c - s * y) * scale], axis=1)


@dataclass(frozen=True)
class Pose:
    """Where the camera is in the road frame of the first frame.

    Attributes:
        x: metres to the right.
        z: metres ahead.
        yaw: radians; positive when turned to the right.
        pitch: radians added by the car's body; positive nose down.
    """

    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Turn road points float [N, 2] (X, Z; first frame) into this pose's X right, Z ahead."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        x, z = points[:, 0] - self.x, points[:, 1] - self.z
        return np.stack([c * x - s * z, s * x + c * z], axis=1)

    def moved(self, right: float, ahead: float, yaw: float, pitch: float) -> Pose:
        """The pose after a step given in this pose's own axes."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return Pose(
            float(self.x + c * right + s * ahead),
            float(self.z - s * right + c * ahead),
            self.yaw + yaw,
            self.pitch + pitch,
        )
