"""A bag's image messages, and as frames for the model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

from m2a_core.encoded_image import MAX_PIXELS
from m2a_core.errors import DataError
from m2a_core.types import Frame
from m2a_ros.bag.cameras import CameraTopic, camera_info_topic
from m2a_ros.bag.cdr_header import stamp_or_recorded
from m2a_ros.bag.reader import CAMERA_INFO, Bag, UndecodableMessage, decode
from m2a_ros.images.decoding import decode_image_message
from m2a_ros.images.encodings import ImageError

BAD_IMAGE_PREFIX = "bad_image."
UNDECODABLE_MESSAGE = "bad_message"
_ENCAPSULATION, _STAMP_END = 4, 12
"""Where the stamp of a serialised message that begins with a header starts and ends, bytes."""
_LOG = logging.getLogger("m2a.bag")


@dataclass(frozen=True)
class Problem:
    """Why a message was not evaluated.

    Attributes:
        reason: what is counted by, as in the node's diagnostics.
        text: the whole message.
    """

    reason: str
    text: str


@dataclass(frozen=True)
class Recorded:
    """One image message.

    Attributes:
        camera: name of its camera.
        topic: its topic.
        msgtype: its type.
        recorded_ns: when it was recorded, nanoseconds.
        data: the message, serialised.
        camera_info: the ``camera_info`` that holds for it, serialised; empty if there is none or it was not asked for.
        restamped: whether its stamp was zero; it then is the time of recording.
    """

    camera: str
    topic: str
    msgtype: str
    recorded_ns: int
    data: bytes
    camera_info: bytes = b""
    restamped: bool = False


@dataclass(frozen=True)
class Loaded:
    """An image message, decoded.

    Attributes:
        recorded: the message.
        stamp_ns: stamp of its header; None where the message cannot be decoded.
        content: the frame, or why there is none.
        decode_ms: milliseconds that decoding took.
        oddity: what is wrong with a compressed image that was decoded all the same, as in ``decoding.Decoded``.
    """

    recorded: Recorded
    stamp_ns: int | None
    content: Frame | Problem
    decode_ms: float
    oddity: str | None = None


def image_messages(
    bag: Bag, cameras: Sequence[CameraTopic], skip: int = 0, calibrated: bool = False
) -> Iterator[Recorded]:
    """The image messages of a bag, by time of recording; stamps that are zero are replaced by that time.

    Args:
        bag: the bag.
        cameras: the topics to read.
        skip: messages at the beginning to leave out.
        calibrated: also give the ``camera_info`` that holds for each: the latest before it, else the camera's first;
            one that cannot be decoded is left out, as by the node.

    Raises:
        DataError: the bag is damaged or cut short.
    """
    names = {topic.topic: topic.camera for topic in cameras}
    infos = _camera_info_topics(bag, cameras) if calibrated else {}
    entries = [c for c in bag.connections if c.topic in infos and c.msgtype == CAMERA_INFO and c.msgcount]
    latest = {}
    for entry in reversed(entries):
        first = next((data for _, _, data in bag.messages([entry]) if _is_calibration(data)), b"")
        latest.update(dict.fromkeys(infos[entry.topic], first))
    images = [connection for topic in cameras for connection in topic.connections]
    for connection, recorded, data in bag.messages([*images, *entries]):
        if connection.topic in infos:
            if _is_calibration(data):
                latest.update(dict.fromkeys(infos[connection.topic], data))
        elif skip:
            skip -= 1
        else:
            camera = names[connection.topic]
            data, restamped = stamp_or_recorded(data, recorded)
            info = latest.get(camera, b"")
            yield Recorded(camera, connection.topic, connection.msgtype, recorded, data, info, restamped)


def _is_calibration(data: bytes) -> bool:
    return _is_decodable(data[:_ENCAPSULATION] + data[_STAMP_END:])


@lru_cache(maxsize=64)
def _is_decodable(unstamped: bytes) -> bool:
    """Whether a ``camera_info`` without its stamp can be decoded: most differ in nothing else."""
    stamp = bytes(_STAMP_END - _ENCAPSULATION)
    try:
        decode(unstamped[:_ENCAPSULATION] + stamp + unstamped[_ENCAPSULATION:], CAMERA_INFO)
    except UndecodableMessage as error:
        _LOG.warning("a camera_info cannot be decoded, and the one before holds: %s", error)
        return False
    return True


def _camera_info_topics(bag: Bag, cameras: Sequence[CameraTopic]) -> dict[str, list[str]]:
    """Names of cameras by the topic of their calibration; two topics of one camera share it."""
    found: dict[str, list[str]] = {}
    for camera in cameras:
        found.setdefault(camera_info_topic(camera.topic), []).append(camera.camera)
    return found


def load_frames(
    bag: Bag, cameras: Sequence[CameraTopic], skip: int = 0, calibrated: bool = False, max_pixels: int = MAX_PIXELS
) -> Iterator[Loaded]:
    """Decode the images of a bag, by time of recording.

    Args:
        bag: the bag.
        cameras: the topics to read.
        skip: messages at the beginning to leave out.
        calibrated: see ``image_messages``.
        max_pixels: a compressed image that claims more is a ``Problem``, too.

    Raises:
        DataError: the bag is damaged or cut short. A damaged image is a ``Problem``, not an error.
    """
    return (load_frame(message, max_pixels) for message in image_messages(bag, cameras, skip, calibrated))


def stamp_of(message: Any) -> int:
    """Stamp of a decoded message's header, nanoseconds."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def load_frame(recorded: Recorded, max_pixels: int = MAX_PIXELS) -> Loaded:
    """Decode one image message; a damaged one is a ``Problem``, not an error."""
    start = perf_counter()
    stamp: int | None = None
    oddity: str | None = None
    content: Frame | Problem
    try:
        message = decode(recorded.data, recorded.msgtype)
        stamp = stamp_of(message)
        decoded = decode_image_message(message, max_pixels)
        oddity = decoded.oddity
        content = Frame(decoded.rgb, stamp, message.header.frame_id, recorded.camera)
    except ImageError as error:
        content = Problem(BAD_IMAGE_PREFIX + error.reason, str(error))
    except DataError as error:
        content = Problem(UNDECODABLE_MESSAGE, str(error))
    return Loaded(recorded, stamp, content, 1e3 * (perf_counter() - start), oddity)
