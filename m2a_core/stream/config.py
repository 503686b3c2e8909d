"""How one camera's stream is processed, apart from the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from m2a_core.geometry.projection import Mounting
from m2a_core.tracking.tracker import TrackerConfig

IMAGE, NETWORK = "image", "network"
Resolution = str | tuple[int, int]
"""Of the maps: the image's own, that in which the network saw it, or width and height in pixels."""


@dataclass(frozen=True)
class StreamConfig:
    """How one camera's frames are processed.

    Attributes:
        rectify: undistort images by their ``camera_info`` first; all outputs are then rectified.
        rectified: images come rectified: P of ``camera_info`` holds, not K and D.
        crop: the network sees the largest part of the image that has its aspect, not all of it with padding.
        crop_center: where that part lies, 0 top or left, 1 bottom or right.
        mounting: where the camera sits, for ``pitch_uncertainty`` and where nothing else tells its pose.
        ground_z: metres, height of the ground in the base frame.
        max_distance: metres from the camera beyond which an object has no place.
        resolution: size of the maps: ``IMAGE``, ``NETWORK``, or width and height in pixels.
        depth_tolerance: seconds between an image and the depth image that belongs to it.
        tracking: when an object is confirmed and lost.
    """

    rectify: bool = False
    rectified: bool = False
    crop: bool = False
    crop_center: float = 0.5
    mounting: Mounting = field(default_factory=Mounting)
    ground_z: float = 0.0
    max_distance: float = 60.0
    resolution: Resolution = IMAGE
    depth_tolerance: float = 0.05
    tracking: TrackerConfig = field(default_factory=TrackerConfig)

    @property
    def has_rectified_maps(self) -> bool:
        """Whether P of ``camera_info`` holds for the maps, not K and D."""
        return self.rectify or self.rectified
