"""One camera's frames, one after the other: rectified, cropped, perceived, tracked and localized.

The node, replayed bags, videos and the demo all process frames here, so that one recipe holds for all. The three
steps are apart because they may run on different threads: ``prepare`` and ``begin`` (CPU), ``Perception.run`` (the
network, maybe with frames of other cameras), ``finish`` and ``track`` (CPU, in the order of the frames).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from m2a_core.geometry.crop import Region, crop_to_aspect, place_back
from m2a_core.geometry.intrinsics import CalibrationReader
from m2a_core.geometry.projection import CameraPose
from m2a_core.geometry.rectification import Rectifier, rectified_info
from m2a_core.openset.head import NATIVE
from m2a_core.perception import Perception
from m2a_core.perception.task import PerceptionTask
from m2a_core.stream.answer_quality import AnswerQuality
from m2a_core.stream.config import IMAGE, StreamConfig
from m2a_core.stream.drift import DriftWatch
from m2a_core.stream.image_quality import ImageQuality
from m2a_core.stream.objects import ObjectLocator, TrackedObject, Unlocalized
from m2a_core.stream.sensors import DepthBuffer, Sensors
from m2a_core.tracking.tracker import Box, Tracker
from m2a_core.tracking.update import update_tracks
from m2a_core.types import FarEnd, Frame, OpenSetResult, Output


@dataclass
class PreparedFrame:
    """A frame as the network will look at it.

    Attributes:
        frame: the image, rectified if that is asked for.
        sensors: what is known beside it, following ``frame``.
        region: the part that the network sees; None for all of it.
        config: what it was prepared by, which also holds for its later steps.
        look: looks at the camera's image for ``degraded``.
        answer_fault: what is wrong with the network's answer (``answer_quality``, ``drift``), once ``finish`` saw it.
    """

    frame: Frame
    sensors: Sensors
    region: Region | None
    config: StreamConfig
    look: Callable[[], str]
    answer_fault: str = ""

    @cached_property
    def degraded(self) -> str:
        """What is wrong with the camera's image (``image_quality``); empty where nothing is seen.

        Looked at when first asked for, so that it can be done while an accelerator works; frames in their order.
        """
        return self.look()


@dataclass(frozen=True)
class StreamResult:
    """What is known of a frame, seen together with those before it.

    Attributes:
        frame: the image that the maps belong to.
        result: maps at the frame's size; instances carry the ids of their tracks.
        objects: the unknown objects whose tracks are confirmed.
        camera_info: the calibration that the maps follow, or None.
        pose: the camera's in the base frame; None where objects could not be localized.
        unlocalized: why not; None if they could, or if instances were not asked for.
        detections: boxes of the frame's own instances and candidates, before tracking, with their places.
        degraded: what is wrong with the camera's image or with the network's answer, by reason.
    """

    frame: Frame
    result: OpenSetResult
    objects: tuple[TrackedObject, ...] = ()
    camera_info: Any | None = None
    pose: CameraPose | None = None
    unlocalized: Unlocalized | None = None
    detections: Detections | None = None
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Detections:
    """What a tracker was given of a frame; ``CameraStream.catch_up`` takes it again.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the instances, then of the candidates.
        strong: how many of them are instances.
        ground: float64 [N, 2], metres, where each meets the ground in the base frame; NaN where unknown.
        far_end: of the road; None where no window was looked at.
    """

    boxes: tuple[Box, ...]
    strong: int
    ground: np.ndarray
    far_end: FarEnd | None = None


class CameraStream:
    """The state of one camera between frames: rectification tables, the road's far end and tracks."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._rectifier = Rectifier()
        self._calibration = CalibrationReader()
        self._tracker = Tracker()
        self._far_end: FarEnd | None = None
        self._quality = ImageQuality()
        self._answers = AnswerQuality()
        self._drift = DriftWatch()

    def process(
        self,
        frame: Frame,
        sensors: Sensors,
        wanted: frozenset[Output],
        perception: Perception,
        config: StreamConfig,
    ) -> StreamResult:
        """All steps of one frame; arguments and errors as there."""
        prepared = self.prepare(frame, sensors, perception.manifest.input_size, config)
        task = self.begin(prepared, wanted, perception)
        perception.run([task])
        return self.track(prepared, self.finish(prepared, task, perception), perception)

    def prepare(
        self, frame: Frame, sensors: Sensors, input_size: tuple[int, int], config: StreamConfig
    ) -> PreparedFrame:
        """Rectify and crop.

        Args:
            frame: the image as the camera sent it.
            sensors: what is known beside it.
            input_size: H, W of the network's input.
            config: how to process it.

        Raises:
            NotRectifiable: rectification is asked for and there is no usable ``camera_info``.
        """
        look = partial(self._quality.judge, frame.image, frame.stamp_ns)
        if config.rectify:
            image = self._rectifier.apply(frame.image, sensors.camera_info)
            frame = replace(frame, image=image)
            # Nobody rectified the depth image: its pixels are not this image's.
            sensors = replace(sensors, camera_info=rectified_info(sensors.camera_info), depth=DepthBuffer())
        region = None
        if config.crop:
            height, width = frame.image.shape[:2]
            region = crop_to_aspect((height, width), input_size, config.crop_center)
        return PreparedFrame(frame, sensors, region, config, look)

    def begin(
        self, prepared: PreparedFrame, wanted: frozenset[Output], perception: Perception, enlarge: bool = True
    ) -> PerceptionTask:
        """Make the prepared frame ready for the network; ``Perception.run`` comes next.

        Args:
            prepared: the frame.
            wanted: the outputs to compute.
            perception: the model.
            enlarge: make maps that are to have the image's size; where not, they have the network's, with all that
                ``m2a_core.openset.enlargement`` needs to enlarge them, unless the network saw a part of the image.
        """
        frame, region = prepared.frame, prepared.region
        if not enlarge and region is None and prepared.config.resolution == IMAGE:
            if Output.OPEN_SET in wanted:
                wanted |= {Output.SCORE, Output.SEMANTIC}
            return perception.begin(frame, wanted, self._far_end, NATIVE)
        if region is not None:
            frame = replace(frame, image=region.cut(frame.image))
        maps = _map_size(prepared, perception)
        if maps is not None and region is not None:
            part = region.scaled(_size(prepared.frame.image), maps)
            maps = (part.height, part.width)
        return perception.begin(frame, wanted, self._far_end, maps)

    def finish(self, prepared: PreparedFrame, task: PerceptionTask, perception: Perception) -> OpenSetResult:
        """The model's result at the frame's size, after ``Perception.run``."""
        prepared.answer_fault = self._judge(prepared, task, perception)
        result = perception.finish(task)
        self._far_end = None if result.horizon is None else result.horizon.far_end
        if prepared.region is None:
            return result
        return place_back(result, prepared.region, _size(prepared.frame.image), _map_size(prepared, perception))

    def _judge(self, prepared: PreparedFrame, task: PerceptionTask, perception: Perception) -> str:
        region, image = prepared.region, prepared.frame.image
        fault = self._answers.judge(image, task.outputs)
        if not task.outputs:
            return fault
        valid = perception.seen_size(*(_size(image) if region is None else (region.height, region.width)))
        return fault or self._drift.judge(task.outputs[0], valid, perception.manifest.scores)

    @staticmethod
    def seen(prepared: PreparedFrame, task: PerceptionTask, perception: Perception) -> np.ndarray | None:
        """All of the image at the size in which the network saw it, uint8 [h, w, 3]; None where it saw a part."""
        whole = task.outputs[0].seen if perception.manifest.camera is not None and task.outputs else task.whole
        if prepared.region is not None or whole is None:
            return None
        height, width = perception.seen_size(*_size(prepared.frame.image))
        return whole[:height, :width]

    @staticmethod
    def map_size(prepared: PreparedFrame, perception: Perception) -> tuple[int, int]:
        """Height and width that the maps of a frame have, or are enlarged to."""
        return _map_size(prepared, perception) or _size(prepared.frame.image)

    def track(self, prepared: PreparedFrame, result: OpenSetResult, perception: Perception) -> StreamResult:
        """Localize the unknown instances of the next frame and give them the ids of their tracks.

        Args:
            prepared: the frame; frames must come in the order in which the camera took them.
            result: of ``infer``; without ``unknown_instances`` there is nothing to track.
            perception: the model that gave it.
        """
        frame, sensors, config = prepared.frame, prepared.sensors, prepared.config
        degraded = tuple(reason for reason in (prepared.degraded, prepared.answer_fault) if reason)
        if result.unknown_instances is None:
            return StreamResult(frame, result, camera_info=sensors.camera_info, degraded=degraded)
        locator = ObjectLocator(frame, sensors, config, perception.manifest.input_size, self._calibration)
        locations = locator.locate(result)
        seen = (*result.instances, *result.candidates)
        ground = np.array([(np.nan, np.nan) if item is None else item.position[:2] for item in locations])
        far_end = None if result.horizon is None else result.horizon.far_end
        detections = Detections(tuple(item.bbox for item in seen), len(result.instances), ground, far_end)
        updated = update_tracks(
            self._tracker, frame.stamp_ns, result, ground, config.tracking, perception.labels.unknown_id
        )
        objects = tuple(
            TrackedObject(replace(instance, id=track.track_id), location)
            for instance, location, track in zip(seen, locations, updated.tracks, strict=True)
            if track.confirmed
        )
        return StreamResult(
            frame,
            updated.result,
            objects,
            sensors.camera_info,
            locator.pose,
            locator.unlocalized,
            detections,
            degraded,
        )

    def catch_up(self, stamp_ns: int, detections: Detections, config: StreamConfig) -> None:
        """Take a frame of an earlier run up again, so that tracks go on where that run stopped."""
        strong = [number < detections.strong for number in range(len(detections.boxes))]
        self._tracker.update(stamp_ns, detections.boxes, detections.ground, config.tracking, strong)
        self._far_end = detections.far_end

    def reset(self) -> None:
        """End all tracks: frames after a pause are a beginning."""
        self._tracker = Tracker()
        self._far_end = None
        self._quality = ImageQuality()
        self._answers = AnswerQuality()
        self._drift = DriftWatch()


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _map_size(prepared: PreparedFrame, perception: Perception) -> tuple[int, int] | None:
    """Height and width of the maps; None for the image's own."""
    resolution, size = prepared.config.resolution, _size(prepared.frame.image)
    if resolution == IMAGE:
        return None
    if isinstance(resolution, tuple):
        width, height = resolution
        return (height, width) if (height, width) != size else None
    region = prepared.region
    seen = size if region is None else (region.height, region.width)
    height, width = perception.seen_size(*seen)
    maps = (max(1, round(size[0] * height / seen[0])), max(1, round(size[1] * width / seen[1])))
    return maps if maps != size else None
