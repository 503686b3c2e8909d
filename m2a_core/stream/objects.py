"""The unknown objects of one frame in the base frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2a_core.errors import DataError
from m2a_core.geometry.depth import object_depth
from m2a_core.geometry.intrinsics import CalibrationReader
from m2a_core.geometry.localization import LocalizedInstance, localize
from m2a_core.geometry.projection import CameraPose, GroundProjector
from m2a_core.stream.config import StreamConfig
from m2a_core.stream.sensors import NoTransform, Sensors
from m2a_core.types import Frame, OpenSetResult, UnknownInstance


@dataclass(frozen=True)
class TrackedObject:
    """An unknown object whose track is confirmed.

    Attributes:
        instance: in the image; its id is the track's.
        location: in the base frame; None where it has none.
    """

    instance: UnknownInstance
    location: LocalizedInstance | None


@dataclass(frozen=True)
class Unlocalized:
    """Why the objects of a frame have no place.

    Attributes:
        reason: ``no_camera_info``, ``bad_camera_info``, ``camera_info_of_other_aspect``, ``no_transform`` or
            ``bad_depth``; with the last, objects stand on the ground all the same.
        error: with the whole message, where there is one.
    """

    reason: str
    error: DataError | None = None


class ObjectLocator:
    """Localizes the objects of one frame.

    Attributes:
        pose: the camera's; None where it is not known, or there is no calibration.
        unlocalized: what is missing; None for nothing.
    """

    def __init__(
        self,
        frame: Frame,
        sensors: Sensors,
        config: StreamConfig,
        input_size: tuple[int, int],
        calibration: CalibrationReader,
    ) -> None:
        """Find out what pixels of a frame mean.

        Args:
            frame: the image.
            sensors: what is known beside it.
            config: how it is processed.
            input_size: H, W of the network's input.
            calibration: the camera's.
        """
        self._frame, self._sensors, self._config, self._input_size = frame, sensors, config, input_size
        self.unlocalized: Unlocalized | None = None
        self._projector = self._make_projector(calibration)
        self.pose: CameraPose | None = self._projector.pose if self._projector else None

    def locate(self, result: OpenSetResult) -> list[LocalizedInstance | None]:
        """The place of each instance, then of each candidate; None for one that has none."""
        if self._projector is None:
            return [None] * (len(result.instances) + len(result.candidates))
        assert result.unknown_instances is not None
        height, width = self._frame.image.shape[:2]
        rows, columns = self._input_size
        # Outlines are known to a pixel of the network's input, then to one of the image.
        error_px = 0.5 + 0.5 * max(width / columns, height / rows)
        depth = self._depth()
        seen, readings = (*result.instances, *result.candidates), None
        if depth is not None:
            maps = [result.unknown_instances] * len(result.instances) + [result.candidate_map] * len(result.candidates)
            readings = [
                None if ids is None else object_depth(instance, ids, depth, result.image_size)
                for instance, ids in zip(seen, maps, strict=True)
            ]
        return localize(seen, self._projector, self._config.max_distance, error_px, readings)

    def _make_projector(self, calibration: CalibrationReader) -> GroundProjector | None:
        info, config = self._sensors.camera_info, self._config
        if info is None:
            self.unlocalized = Unlocalized("no_camera_info")
            return None
        height, width = self._frame.image.shape[:2]
        try:
            intrinsics = calibration.read(info, config.rectified, (width, height))
            if intrinsics is None:
                self.unlocalized = Unlocalized("camera_info_of_other_aspect")
                return None
            ask = self._sensors.pose
            pose = config.mounting.pose(config.ground_z) if ask is None else ask(self._frame)
        except DataError as error:
            reason = "no_transform" if isinstance(error, NoTransform) else "bad_camera_info"
            self.unlocalized = Unlocalized(reason, error)
            return None
        return GroundProjector(intrinsics, config.mounting, pose, config.ground_z)

    def _depth(self) -> np.ndarray | None:
        try:
            return self._sensors.depth.metres(self._frame.stamp_ns, self._config.depth_tolerance)
        except DataError as error:
            self.unlocalized = Unlocalized("bad_depth", error)
            return None
