"""A bag's image messages, and as frames for the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

from m2a_core.errors import DataError
from m2a_core.types import Frame
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.reader import Bag, decode
from m2a_ros.images.decoding import decode_image_message
from m2a_ros.images.encodings import ImageError

BAD_IMAGE_PREFIX = "bad_image."
UNDECODABLE_MESSAGE = "bad_message"


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
    """

    camera: str
    topic: str
    msgtype: str
    recorded_ns: int
    data: bytes


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


def image_messages(bag: Bag, cameras: Sequence[CameraTopic], skip: int = 0) -> Iterator[Recorded]:
    """The image messages of a bag, by time of recording.

    Args:
        bag: the bag.
        cameras: the topics to read.
        skip: messages at the beginning to leave out.

    Raises:
        DataError: the bag is damaged or cut short.
    """
    names = {topic.topic: topic.camera for topic in cameras}
    messages = bag.messages([connection for topic in cameras for connection in topic.connections])
    for connection, recorded, data in islice(messages, skip, None):
        yield Recorded(names[connection.topic], connection.topic, connection.msgtype, recorded, data)


def load_frames(bag: Bag, cameras: Sequence[CameraTopic], skip: int = 0) -> Iterator[Loaded]:
    """Decode the images of a bag, by time of recording.

    Args:
        bag: the bag.
        cameras: the topics to read.
        skip: messages at the beginning to leave out.

    Raises:
        DataError: the bag is damaged or cut short. A damaged image is no error but a ``Problem``.
    """
    return map(_load, image_messages(bag, cameras, skip))


def stamp_of(message: Any) -> int:
    """Stamp of a decoded message's header, nanoseconds."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def _load(recorded: Recorded) -> Loaded:
    start = perf_counter()
    stamp: int | None = None
    oddity: str | None = None
    content: Frame | Problem
    try:
        message = decode(recorded.data, recorded.msgtype)
        stamp = stamp_of(message)
        decoded = decode_image_message(message)
        oddity = decoded.oddity
        content = Frame(decoded.rgb, stamp, message.header.frame_id, recorded.camera)
    except ImageError as error:
        content = Problem(BAD_IMAGE_PREFIX + error.reason, str(error))
    except DataError as error:
        content = Problem(UNDECODABLE_MESSAGE, str(error))
    return Loaded(recorded, stamp, content, 1e3 * (perf_counter() - start), oddity)
