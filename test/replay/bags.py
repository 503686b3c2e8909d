"""Bags for the tests, written field by field with rosbags and not with the code under test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

STORE = get_typestore(Stores.ROS2_KILTED)
FRAME_ID = "front_camera_optical"
TOPIC = "/cam/front/image_raw"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
START = 1_700_000_000_000_000_000
STEP = 40_000_000


@dataclass(frozen=True)
class Sent:
    """A message: on which topic, recorded when, of which type."""

    topic: str
    time: int
    msgtype: str
    data: bytes


def scene(shift: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Blue sky over green road with a red object 16 pixels wide: what ``test.tiny_bundle`` recognises."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[: size[0] // 2] = (0, 0, 255)
    rgb[size[0] // 2 :] = (0, 255, 0)
    rgb[56:80, 8 + shift : 24 + shift] = (255, 0, 0)
    return rgb


def raw(rgb: np.ndarray, number: int, topic: str = TOPIC, stamp: int | None = None, encoding: str = "rgb8") -> Sent:
    pixels = {"rgb8": rgb, "bgr8": rgb[..., ::-1], "32FC1": rgb.astype(np.float32)[..., 0]}[encoding]
    return image(pixels, number, topic, encoding, stamp)


def image(pixels: np.ndarray, number: int, topic: str, encoding: str, stamp: int | None = None) -> Sent:
    time = START + number * STEP
    message = STORE.types[IMAGE](
        header=message_header(time if stamp is None else stamp),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].nbytes,
        data=np.frombuffer(pixels.tobytes(), np.uint8),
    )
    return Sent(topic, time, IMAGE, bytes(STORE.serialize_cdr(message, IMAGE)))


def compressed(rgb: np.ndarray, number: int, topic: str = TOPIC + "/compressed", keep: float = 1.0) -> Sent:
    """A PNG, of which only the first ``keep`` is sent."""
    png = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1]
    time = START + number * STEP
    message = STORE.types[COMPRESSED](header=message_header(time), format="png", data=png[: int(keep * len(png))])
    return Sent(topic, time, COMPRESSED, bytes(STORE.serialize_cdr(message, COMPRESSED)))


def write_bag(path: Path, messages: list[Sent], storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for message in messages:
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(message.topic, message.msgtype, typestore=STORE)
            writer.write(connections[message.topic], message.time, message.data)
    return path


def drive(path: Path, frames: int = 5, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """A bag of one raw camera."""
    return write_bag(path, [raw(scene(4 * (i % 16)), i) for i in range(frames)], storage)


def foreign_type(number: int) -> tuple[str, str, bytes]:
    """A type that no ROS distribution knows: name, definition, a message."""
    name = "acme_msgs/msg/Torque"
    STORE.register({k: v for k, v in get_types_from_msg("float64 left", name).items() if k not in STORE.fielddefs})
    return name, "float64 left", bytes(STORE.serialize_cdr(STORE.types[name](left=float(number)), name))


def message_header(stamp: int) -> Any:
    time = STORE.types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=FRAME_ID)
