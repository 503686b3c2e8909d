"""Results of a stretch of a bag, in a folder that is there as a whole or not at all: so a killed replay can go on.

A part holds ``frames.jsonl``, ``problems.jsonl``, ``part.json`` and ``out/``, a bag (MCAP) of the node's messages.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
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

from m2a_core.labels import LabelSet
from m2a_core.overlay import draw_overlay
from m2a_core.types import Frame, OpenSetResult
from m2a_ros.conversions import fill_image, fill_jpeg
from m2a_ros.output_spec import MAPS, class_map_json
from m2a_ros.replay.frames import Loaded, Problem
from m2a_ros.replay.reader import COMPRESSED, IMAGE, TYPESTORE

FRAMES, PROBLEMS, INFO, OUTPUT = "frames.jsonl", "problems.jsonl", "part.json", "out"
NODE = "/m2a"
_STRING = "std_msgs/msg/String"
_ENDLESS = QosTime(2147483647, 4294967295)


@dataclass(frozen=True)
class PartInfo:
    """What a part covers.

    Attributes:
        messages: image messages, evaluated or not.
        last: whether the bag ends with it.
    """

    messages: int
    last: bool


def map_topic(camera: str, name: str) -> str:
    """Topic of an output: ``/m2a/output/<camera>/<name>``, as the node names it by default."""
    return f"{NODE}/output/{camera}/{name}"


def overlay_topic(camera: str) -> str:
    """Topic of the overlay: ``/m2a/debug/<camera>/overlay/compressed``."""
    return f"{NODE}/debug/{camera}/overlay/compressed"


def published_arrays(result: OpenSetResult) -> dict[str, np.ndarray]:
    """The arrays of one frame as the node publishes them, by topic name."""
    return {spec.topic: spec.convert(getattr(result, spec.output.value)) for spec in MAPS}


def hash_arrays(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256, hex, over name, dtype, shape and little-endian bytes of the published arrays."""
    digest = hashlib.sha256()
    for name, values in arrays.items():
        little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
        digest.update(f"{name} {little.dtype.str} {list(little.shape)}\n".encode())
        digest.update(little.data.cast("B"))
    return digest.hexdigest()


class PartWriter:
    """Writes one part; nothing of it can be seen before ``finish``."""

    def __init__(self, folder: Path, labels: LabelSet, threshold: float) -> None:
        """Start a part.

        Args:
            folder: the part's folder; must not exist.
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
        self.messages = 0

    def add_frame(self, loaded: Loaded, frame: Frame, result: OpenSetResult) -> None:
        """Write the node's messages and the record of a frame."""
        arrays = published_arrays(result)
        header = _header(frame)
        self._class_map_once(loaded)
        for spec in MAPS:
            filled = SimpleNamespace(data=array("B"))
            fill_image(filled, arrays[spec.topic], spec.encoding)
            self._write(map_topic(loaded.camera, spec.topic), IMAGE, loaded.recorded_ns, header, filled)
        jpeg = SimpleNamespace(data=array("B"))
        fill_jpeg(jpeg, draw_overlay(frame.image, result, self._labels))
        self._write(overlay_topic(loaded.camera), COMPRESSED, loaded.recorded_ns, header, jpeg)
        record = {
            "stamp_ns": frame.stamp_ns,
            "frame_id": frame.frame_id,
            "camera": loaded.camera,
            "hash": hash_arrays(arrays),
            "latencies_ms": {k: round(v, 3) for k, v in {"decode": loaded.decode_ms, **result.timings_ms}.items()},
            "unknown_instances": len(result.instances),
        }
        self._frames.write(json.dumps(record) + "\n")
        self.messages += 1

    def add_problem(self, loaded: Loaded, problem: Problem) -> None:
        """Note down a message that was not evaluated."""
        record = {
            "topic": loaded.topic,
            "camera": loaded.camera,
            "recorded_ns": loaded.recorded_ns,
            "stamp_ns": loaded.stamp_ns,
            **asdict(problem),
        }
        self._problems.write(json.dumps(record) + "\n")
        self.messages += 1

    def finish(self, last: bool) -> None:
        """Complete the part and make it visible."""
        self._writer.close()
        self._frames.close()
        self._problems.close()
        info = PartInfo(self.messages, last)
        (self._unfinished / INFO).write_text(json.dumps(asdict(info)), encoding="utf-8")
        os.replace(self._unfinished, self._folder)

    def abandon(self) -> None:
        """Drop the part."""
        self._writer.abort()
        self._frames.close()
        self._problems.close()
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _text(self, name: str) -> TextIO:
        return (self._unfinished / name).open("w", encoding="utf-8", newline="\n")

    def _class_map_once(self, loaded: Loaded) -> None:
        topic = map_topic(loaded.camera, "label_info")
        if topic not in self._connections:
            message = TYPESTORE.types[_STRING](data=self._class_map)
            self._store(topic, _STRING, loaded.recorded_ns, message, _qos(latched=True))

    def _write(self, topic: str, msgtype: str, time: int, header: Any, filled: SimpleNamespace) -> None:
        fields = {**vars(filled), "data": np.frombuffer(filled.data, np.uint8)}
        self._store(topic, msgtype, time, TYPESTORE.types[msgtype](header=header, **fields), _qos(latched=False))

    def _store(self, topic: str, msgtype: str, time: int, message: Any, qos: Qos) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=TYPESTORE, offered_qos_profiles=[qos]
            )
        self._writer.write(self._connections[topic], time, TYPESTORE.serialize_cdr(message, msgtype))


def finished_parts(folder: Path) -> list[Path]:
    """The finished parts in a folder, in order."""
    return sorted(p for p in folder.glob("[0-9]*") if (p / INFO).is_file())


def read_info(part: Path) -> PartInfo:
    """What a finished part covers."""
    return PartInfo(**json.loads((part / INFO).read_text(encoding="utf-8")))


def read_records(part: Path, name: str) -> list[dict[str, Any]]:
    """Records of a finished part (``FRAMES`` or ``PROBLEMS``)."""
    return [json.loads(line) for line in (part / name).read_text(encoding="utf-8").splitlines()]


def _header(frame: Frame) -> Any:
    sec, nanosec = divmod(frame.stamp_ns, 1_000_000_000)
    stamp = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPESTORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame.frame_id)


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
