"""Results of a stretch of a bag, in a folder that is there as a whole or not at all: so a killed replay can go on.

A chunk holds ``frames.jsonl``, ``problems.jsonl``, ``tracks.jsonl`` (boxes of the unknown instances and candidates),
``part.json`` and ``out/``, a bag (MCAP) of the node's messages.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from m2a_core.files import json_text, read_json_lines
from m2a_core.labels.label_set import LabelSet
from m2a_core.stream.camera_stream import Detections
from m2a_core.types import FarEnd
from m2a_ros.bag.frames import Problem, Recorded
from m2a_ros.bag.messages import raw_image, stamped
from m2a_ros.bag.reader import COMPRESSED, IMAGE, TYPESTORE
from m2a_ros.images.conversions import JPEG_FORMAT
from m2a_ros.outputs.output_spec import MAPS, class_map_json
from m2a_ros.outputs.topics import map_topic, overlay_topic
from m2a_ros.replay.published_frame import PublishedFrame
from m2a_ros.review.layout import FRAMES, PROBLEMS

TRACKS = "tracks.jsonl"
INFO, OUTPUT = "part.json", "out"
_STRING = "std_msgs/msg/String"
_ENDLESS = QosTime(2147483647, 4294967295)


@dataclass(frozen=True)
class ChunkInfo:
    """What a chunk covers.

    Attributes:
        messages: image messages, evaluated or not.
        last: whether the bag ends with it.
        sizes: evaluated images by camera and ``WIDTHxHEIGHT``.
    """

    messages: int
    last: bool
    sizes: dict[str, dict[str, int]]


class ChunkWriter:
    """Writes one chunk; nothing of it can be seen before ``finish``."""

    def __init__(self, folder: Path, labels: LabelSet, threshold: float) -> None:
        """Start a chunk.

        Args:
            folder: the chunk's folder; must not exist.
            labels: the classes of the model.
            threshold: anomaly score from which a pixel is unknown.

        Raises:
            OSError: it cannot be written.
        """
        self._folder = folder
        self._unfinished = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True)
        self._labels = labels
        self._class_map = class_map_json(labels, threshold)
        self._writer = Writer(self._unfinished / OUTPUT, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections: dict[str, Connection] = {}
        self._frames = self._text(FRAMES)
        self._problems = self._text(PROBLEMS)
        self._tracks = self._text(TRACKS)
        self._sizes: dict[str, Counter[str]] = {}
        self.messages = 0

    def add_frame(self, frame: PublishedFrame) -> None:
        """Write the node's messages and the record of a frame."""
        header = stamped(frame.stamp_ns, frame.frame_id)
        self._class_map_once(frame)
        for spec in MAPS:
            message = raw_image(header, frame.arrays[spec.topic], spec.encoding)
            self._store(map_topic(frame.camera, spec.topic), IMAGE, frame.recorded_ns, message)
        if frame.overlay is not None:
            message = TYPESTORE.types[COMPRESSED](header=header, format=JPEG_FORMAT, data=frame.overlay)
            self._store(overlay_topic(frame.camera), COMPRESSED, frame.recorded_ns, message)
        self._frames.write(json_text(frame.record()) + "\n")
        if frame.detections is not None:
            track = {"camera": frame.camera, "stamp_ns": frame.stamp_ns, **_as_json(frame.detections)}
            self._tracks.write(json_text(track) + "\n")
        self._sizes.setdefault(frame.camera, Counter())[frame.size] += 1
        self.messages += 1

    def add_problem(self, message: Recorded, stamp_ns: int | None, problem: Problem) -> None:
        """Note down a message that was not evaluated."""
        record = {
            "topic": message.topic,
            "camera": message.camera,
            "recorded_ns": message.recorded_ns,
            "stamp_ns": stamp_ns,
            **asdict(problem),
        }
        self._problems.write(json_text(record) + "\n")
        self.messages += 1

    def finish(self, last: bool) -> None:
        """Complete the chunk and make it visible."""
        self._writer.close()
        self._frames.close()
        self._problems.close()
        self._tracks.close()
        info = ChunkInfo(self.messages, last, {camera: dict(sizes) for camera, sizes in self._sizes.items()})
        (self._unfinished / INFO).write_text(json_text(asdict(info)), encoding="utf-8")
        os.replace(self._unfinished, self._folder)

    def abandon(self) -> None:
        """Drop the chunk."""
        self._writer.abort()
        self._frames.close()
        self._problems.close()
        self._tracks.close()
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _text(self, name: str) -> TextIO:
        return (self._unfinished / name).open("w", encoding="utf-8", newline="\n")

    def _class_map_once(self, frame: PublishedFrame) -> None:
        topic = map_topic(frame.camera, "label_info")
        if topic not in self._connections:
            message = TYPESTORE.types[_STRING](data=self._class_map)
            self._store(topic, _STRING, frame.recorded_ns, message, latched=True)

    def _store(self, topic: str, msgtype: str, time: int, message: Any, latched: bool = False) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=TYPESTORE, offered_qos_profiles=[_qos(latched)]
            )
        self._writer.write(self._connections[topic], time, TYPESTORE.serialize_cdr(message, msgtype))


def finished_chunks(folder: Path) -> list[Path]:
    """The finished chunks in a folder, in order."""
    return sorted(p for p in folder.glob("[0-9]*") if (p / INFO).is_file())


def read_info(chunk: Path) -> ChunkInfo:
    """What a finished chunk covers."""
    return ChunkInfo(**json.loads((chunk / INFO).read_text(encoding="utf-8")))


def read_records(chunk: Path, name: str) -> list[dict[str, Any]]:
    """Records of a finished chunk (``FRAMES``, ``PROBLEMS`` or ``TRACKS``)."""
    return read_json_lines(chunk / name)


def read_tracks(chunk: Path) -> Iterator[tuple[str, int, Detections]]:
    """Camera, stamp in nanoseconds and detections of each frame of a finished chunk."""
    for record in read_records(chunk, TRACKS):
        ground = np.array(record["ground"], np.float64).reshape(-1, 2)
        boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in record["boxes"])
        stamp_ns, far_end = record["stamp_ns"], None
        if record["far_end"] is not None:
            y, x, height, width = record["far_end"]
            far_end = FarEnd(y, x, stamp_ns, (height, width))
        yield record["camera"], stamp_ns, Detections(boxes, record["strong"], ground, far_end)


def _as_json(detections: Detections) -> dict[str, Any]:
    ground = [[None if np.isnan(value) else value for value in place] for place in detections.ground.tolist()]
    far_end = (
        None if detections.far_end is None else (detections.far_end.y, detections.far_end.x, *detections.far_end.size)
    )
    return {"boxes": detections.boxes, "strong": detections.strong, "ground": ground, "far_end": far_end}


def _qos(latched: bool) -> Qos:
    """Reliable as the node publishes; ``ros2 bag play`` takes it up."""
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _ENDLESS,
        _ENDLESS,
        QosLiveliness.AUTOMATIC,
        _ENDLESS,
        False,
    )
