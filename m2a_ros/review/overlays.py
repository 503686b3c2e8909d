"""Overlays of a replay's frames: those that were published, else drawn from the published maps and the bag's images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.overlay import draw_overlay, shrink
from m2a_core.types import Frame, OpenSetResult, UnknownInstance
from m2a_ros.bag.frames import image_messages, load_frame, stamp_of
from m2a_ros.bag.reader import Bag, decode
from m2a_ros.images.conversions import image_to_array
from m2a_ros.outputs.topics import map_topic, overlay_topic
from m2a_ros.review.layout import OUTPUT_BAG
from m2a_ros.review.request import Source
from m2a_ros.review.results import frame_results

WIDTH = 480
"""Pixels that a drawn overlay is wide at most."""

Overlay = tuple[str, int, int, np.ndarray]
"""Camera, number of its frame from 0, stamp in nanoseconds, uint8 [H, W, 3] BGR."""


def overlays(out: Path, source: Source, wanted: Collection[tuple[str, int]], labels: LabelSet) -> Iterator[Overlay]:
    """The overlays of a bag, by time of recording.

    Args:
        out: the replay's output folder.
        source: the bag.
        wanted: camera and number of the frames.
        labels: the classes of the model.

    Raises:
        DataError: a bag is damaged.
    """
    topics = {overlay_topic(camera): camera for camera in dict.fromkeys(camera for camera, _ in wanted)}
    with Bag(out / source.name / OUTPUT_BAG) as bag:
        connections = [c for c in bag.connections if c.topic in topics]
        numbers = dict.fromkeys(topics.values(), -1)
        for connection, _, data in bag.messages(connections) if connections else ():
            camera = topics[connection.topic]
            numbers[camera] += 1
            if (camera, numbers[camera]) in wanted:
                message = decode(data, connection.msgtype)
                picture = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
                yield camera, numbers[camera], stamp_of(message), picture
    if not connections:
        yield from _drawn(out, source, wanted, labels)


def _drawn(out: Path, source: Source, wanted: Collection[tuple[str, int]], labels: LabelSet) -> Iterator[Overlay]:
    """Both bags are in order of recording, so only the results that wait for their image are held."""
    waiting: dict[tuple[str, int], _Result] = {}
    with Bag(out / source.name / OUTPUT_BAG) as answers, Bag(source.path) as bag:
        results = _small_results(answers, out / source.name / OUTPUT_BAG, wanted)
        following = next(results, None)
        for recorded in image_messages(bag, source.cameras):
            while following is not None and following.recorded_ns <= recorded.recorded_ns:
                waiting[following.camera, following.recorded_ns] = following
                following = next(results, None)
            result = waiting.pop((recorded.camera, recorded.recorded_ns), None)
            frame = load_frame(recorded).content if result is not None else None
            if result is None or not isinstance(frame, Frame):
                continue
            small = shrink(frame.image, OpenSetResult(), WIDTH)[0]
            shown = result.shown.open_set
            # A node that crops to another size answers for what the image does not show.
            if shown is not None and shown.shape == small.shape[:2]:
                picture = cv2.cvtColor(draw_overlay(small, result.shown, labels), cv2.COLOR_RGB2BGR)
                yield result.camera, result.number, result.stamp_ns, picture


@dataclass(frozen=True)
class _Result:
    """What an overlay shows of a frame, at most ``WIDTH`` pixels wide."""

    camera: str
    recorded_ns: int
    number: int
    stamp_ns: int
    shown: OpenSetResult


def _small_results(bag: Bag, path: Path, wanted: Collection[tuple[str, int]]) -> Iterator[_Result]:
    cameras = list(dict.fromkeys(camera for camera, _ in wanted))
    masks = {map_topic(camera, "open_set_mask") for camera in cameras}
    messages = bag.messages([c for c in bag.connections if c.topic in masks])
    for found, (connection, _, data) in zip(frame_results(path, cameras), messages, strict=False):
        if (found.camera, found.number) in wanted:
            mask = image_to_array(decode(data, connection.msgtype))
            whole = OpenSetResult(open_set=mask, instances=instances_of(found.instances, found.anomaly))
            shown = shrink(np.zeros((*mask.shape, 3), np.uint8), whole, WIDTH)[1]
            yield _Result(found.camera, found.recorded_ns, found.number, found.stamp_ns, shown)


def instances_of(ids: np.ndarray, anomaly: np.ndarray) -> tuple[UnknownInstance, ...]:
    """Records of the instances in a published id map.

    Args:
        ids: uint16 [H, W], 0 none.
        anomaly: float32 [H, W]; an instance's score is its mean here.
    """
    instances = []
    for number in np.unique(ids[ids > 0]).tolist():
        mask = (ids == number).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        contour = max(contours, key=cv2.contourArea)[:, 0, :].astype(np.int32)
        bottom = y + height - 1
        contact = (float(np.flatnonzero(mask[bottom]).mean()), float(bottom))
        box = (x, y, x + width, y + height)
        instances.append(
            UnknownInstance(number, float(anomaly[mask > 0].mean()), int(mask.sum()), box, contour, contact)
        )
    return tuple(instances)
