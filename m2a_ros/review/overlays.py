"""Overlays of a replay's frames: those that were published, else drawn from the published maps and the bag's images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
    with Bag(out / source.name / OUTPUT_BAG) as bag:
        results = _small_results(bag, out / source.name / OUTPUT_BAG, wanted)
    with Bag(source.path) as bag:
        for recorded in image_messages(bag, source.cameras):
            if (recorded.camera, recorded.recorded_ns) not in results:
                continue
            number, stamp, result = results.pop((recorded.camera, recorded.recorded_ns))
            frame = load_frame(recorded).content
            if not isinstance(frame, Frame):
                continue
            small = shrink(frame.image, OpenSetResult(), WIDTH)[0]
            # A node that crops to another size answers for what the image does not show.
            if result.open_set is not None and result.open_set.shape == small.shape[:2]:
                picture = draw_overlay(small, result, labels)
                yield recorded.camera, number, stamp, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)


def _small_results(
    bag: Bag, path: Path, wanted: Collection[tuple[str, int]]
) -> dict[tuple[str, int], tuple[int, int, OpenSetResult]]:
    """Camera and time of recording -> number, stamp, and what an overlay shows, at most ``WIDTH`` pixels wide."""
    cameras = list(dict.fromkeys(camera for camera, _ in wanted))
    results = {}
    masks = {map_topic(camera, "open_set_mask") for camera in cameras}
    both = zip(
        frame_results(path, cameras), bag.messages([c for c in bag.connections if c.topic in masks]), strict=False
    )
    for found, (connection, _, data) in both:
        if (found.camera, found.number) in wanted:
            mask = image_to_array(decode(data, connection.msgtype))
            whole = OpenSetResult(open_set=mask, instances=instances_of(found.instances, found.anomaly))
            small = shrink(np.zeros((*mask.shape, 3), np.uint8), whole, WIDTH)[1]
            results[found.camera, found.recorded_ns] = (found.number, found.stamp_ns, small)
    return results


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
