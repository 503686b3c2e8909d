"""The published results of a replay, frame by frame, out of its output bag."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.errors import DataError
from m2a_ros.bag.frames import stamp_of
from m2a_ros.bag.reader import Bag, decode
from m2a_ros.images.conversions import image_to_array
from m2a_ros.outputs.topics import map_topic

_MAPS, _CLASSES = ("anomaly_map", "unknown_instances"), "open_set_mask"


@dataclass(frozen=True)
class FrameResult:
    """What was published of one frame.

    Attributes:
        camera: name of the camera.
        number: of the camera's frames, from 0.
        stamp_ns: stamp of the image, nanoseconds.
        recorded_ns: when the image was recorded, nanoseconds.
        frame_id: the camera's optical frame.
        anomaly: float32 [H, W], in [0, 1].
        instances: uint16 [H, W], 0 none, else the id of an unknown instance.
        classes: uint8 [H, W], the open-set mask; None where it was not asked for.
    """

    camera: str
    number: int
    stamp_ns: int
    recorded_ns: int
    frame_id: str
    anomaly: np.ndarray
    instances: np.ndarray
    classes: np.ndarray | None = None


def frame_results(output_bag: Path, cameras: Sequence[str], classes: bool = False) -> Iterator[FrameResult]:
    """The results of a bag, by time of recording.

    Args:
        output_bag: ``OUT/BAG/bag``.
        cameras: names of the cameras.
        classes: also give the open-set masks.

    Raises:
        DataError: the bag is damaged, or a frame lacks one of its maps.
    """
    maps = (*_MAPS, _CLASSES) if classes else _MAPS
    topics = {map_topic(camera, name): (camera, name) for camera in cameras for name in maps}
    waiting: dict[str, dict[str, deque[tuple[int, Any]]]] = {c: {name: deque() for name in maps} for c in cameras}
    numbers = {camera: count() for camera in cameras}
    with Bag(output_bag) as bag:
        for connection, recorded, data in bag.messages([c for c in bag.connections if c.topic in topics]):
            camera, name = topics[connection.topic]
            queues = waiting[camera]
            queues[name].append((recorded, decode(data, connection.msgtype)))
            if all(queues.values()):
                anomaly, instances, *others = (queues[name].popleft()[1] for name in maps)
                yield FrameResult(
                    camera,
                    next(numbers[camera]),
                    stamp_of(anomaly),
                    recorded,
                    anomaly.header.frame_id,
                    image_to_array(anomaly),
                    image_to_array(instances),
                    *map(image_to_array, others),
                )
    left = {camera for camera, queues in waiting.items() if any(queues.values())}
    if left:
        raise DataError(f"bag {output_bag}: a frame of {', '.join(sorted(left))} lacks one of {', '.join(maps)}")


def with_recorded(output_bag: Path, frames: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of ``frames.jsonl`` with ``recorded_ns``, when their images were recorded, out of the output bag.

    Raises:
        DataError: the bag is damaged or lacks a frame.
    """
    topics = {map_topic(camera, "open_set_mask"): camera for camera in {frame["camera"] for frame in frames}}
    times: dict[str, deque[int]] = {camera: deque() for camera in topics.values()}
    with Bag(output_bag) as bag:
        for connection, recorded, _ in bag.messages([c for c in bag.connections if c.topic in topics]):
            times[topics[connection.topic]].append(recorded)
    if any(len(of) != sum(frame["camera"] == camera for frame in frames) for camera, of in times.items()):
        raise DataError(f"bag {output_bag}: not as many frames as in frames.jsonl; replay the bag again")
    return [{**frame, "recorded_ns": times[frame["camera"]].popleft()} for frame in frames]
