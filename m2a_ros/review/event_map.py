"""Where events happened: the car's track, and the unknown objects on the ground beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.geometry.projection import GroundProjector, Mounting
from m2a_ros.bag.calibration import Track, read_projector, read_track
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.reader import Bag, decode
from m2a_ros.images.conversions import image_to_array
from m2a_ros.outputs.topics import map_topic
from m2a_ros.review.clips import Moment
from m2a_ros.review.layout import OUTPUT_BAG
from m2a_ros.review.request import Source

MAX_DISTANCE_M = 80.0
"""Farther contact points are too close to the horizon to be trusted."""


@dataclass(frozen=True)
class EventLocation:
    """Where an event happened.

    Attributes:
        name: of its moment.
        car: x and y of the car, metres.
        unknown: x and y of each unknown object that meets the ground.
    """

    name: str
    car: tuple[float, float]
    unknown: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class EventMap:
    """A bag's map.

    Attributes:
        bag: name of the bag.
        track: where the car was; None where the bag does not tell.
        locations: the events on it.
        note: why objects are not placed, for a camera that cannot be; empty if none.
    """

    bag: str
    track: Track | None
    locations: tuple[EventLocation, ...]
    note: str


def map_events(out: Path, source: Source, moments: Sequence[Moment], mountings: Mapping[str, Mounting]) -> EventMap:
    """Locate the events of a bag.

    Raises:
        DataError: a bag is damaged.
    """
    with Bag(source.path) as bag:
        track = read_track(bag)
        if track is None:
            return EventMap(source.name, None, (), "")
        locations, notes = [], []
        wanted = {(moment.camera, moment.number): moment for moment in moments}
        numbers = {topic.camera: count() for topic in source.cameras}
        projectors: dict[str, GroundProjector | str] = {}
        for topic, message, recorded in _instance_maps(out, source):
            moment = wanted.pop((topic.camera, next(numbers[topic.camera])), None)
            here = track.at(recorded)
            if moment is None or here is None:
                continue
            if topic.camera not in projectors:
                size = (message.width, message.height)
                projectors[topic.camera] = read_projector(
                    bag, topic, message.header.frame_id, size, mountings, topic.camera in source.rectified
                )
            projector = projectors[topic.camera]
            unknown: list[tuple[float, float]] = []
            if isinstance(projector, str):
                notes.append(f"{topic.camera}: {projector}")
            elif not math.isnan(here[2]):
                unknown = [_on_map(here, point) for point in _contacts(image_to_array(message), projector)]
            locations.append(EventLocation(moment.name, here[:2], tuple(unknown)))
    return EventMap(source.name, track, tuple(locations), "; ".join(dict.fromkeys(notes)))


def _instance_maps(out: Path, source: Source) -> Iterator[tuple[CameraTopic, Any, int]]:
    topics = {map_topic(topic.camera, "unknown_instances"): topic for topic in source.cameras}
    with Bag(out / source.name / OUTPUT_BAG) as results:
        for connection, recorded, data in results.messages([c for c in results.connections if c.topic in topics]):
            yield topics[connection.topic], decode(data, connection.msgtype), recorded


def _contacts(instances: np.ndarray, projector: GroundProjector) -> list[np.ndarray]:
    """Ground points, x forward and y left of the base frame, below each instance's lowest pixels."""
    points = []
    for number in range(1, int(instances.max()) + 1):
        rows, columns = np.nonzero(instances == number)
        if len(rows):
            foot = np.array([[columns[rows == rows.max()].mean(), rows.max() + 0.5]])
            point = projector.ground(foot)[0][:2]
            if np.isfinite(point).all() and np.linalg.norm(point) <= MAX_DISTANCE_M:
                points.append(point)
    return points


def _on_map(here: tuple[float, float, float], point: np.ndarray) -> tuple[float, float]:
    x, y, yaw = here
    cos, sin = math.cos(yaw), math.sin(yaw)
    return x + cos * float(point[0]) - sin * float(point[1]), y + sin * float(point[0]) + cos * float(point[1])
