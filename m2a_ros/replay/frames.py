"""A bag's image messages as frames for the model, decoded ahead of it on a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, Full, Queue
from time import perf_counter
from typing import Generic, TypeVar

from m2a_core.errors import DataError
from m2a_core.types import Frame
from m2a_ros.conversions import compressed_to_rgb, image_to_rgb
from m2a_ros.encodings import ImageError
from m2a_ros.replay.cameras import CameraTopic
from m2a_ros.replay.reader import COMPRESSED, Bag, decode

BAD_IMAGE_PREFIX = "bad_image."
UNDECODABLE_MESSAGE = "bad_message"
_WAIT_S = 0.1
_Item = TypeVar("_Item")


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
class Loaded:
    """One image message.

    Attributes:
        camera: name of its camera.
        topic: its topic.
        recorded_ns: when it was recorded, nanoseconds.
        stamp_ns: stamp of its header; None where the message cannot be decoded.
        content: the frame, or why there is none.
        decode_ms: milliseconds that decoding took.
    """

    camera: str
    topic: str
    recorded_ns: int
    stamp_ns: int | None
    content: Frame | Problem
    decode_ms: float


def load_frames(bag: Bag, cameras: Sequence[CameraTopic], skip: int = 0) -> Iterator[Loaded]:
    """Decode the images of a bag, by time of recording.

    Args:
        bag: the bag.
        cameras: the topics to read.
        skip: messages at the beginning to leave out.

    Raises:
        DataError: the bag is damaged or cut short. A damaged image is no error but a ``Problem``.
    """
    names = {topic.topic: topic.camera for topic in cameras}
    messages = bag.messages([connection for topic in cameras for connection in topic.connections])
    for index, (connection, recorded, data) in enumerate(messages):
        if index >= skip:
            yield _load(names[connection.topic], connection.topic, connection.msgtype, recorded, data)


def _load(camera: str, topic: str, msgtype: str, recorded: int, data: bytes) -> Loaded:
    start = perf_counter()
    stamp: int | None = None
    content: Frame | Problem
    try:
        message = decode(data, msgtype)
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        image = compressed_to_rgb(message) if msgtype == COMPRESSED else image_to_rgb(message)
        content = Frame(image, stamp, message.header.frame_id, camera)
    except ImageError as error:
        content = Problem(BAD_IMAGE_PREFIX + error.reason, str(error))
    except DataError as error:
        content = Problem(UNDECODABLE_MESSAGE, str(error))
    return Loaded(camera, topic, recorded, stamp, content, 1e3 * (perf_counter() - start))


class Ahead(Generic[_Item]):
    """Runs an iterator on another thread, a few items ahead; a context manager, so that the thread always ends."""

    def __init__(self, source: Iterator[_Item], depth: int) -> None:
        """Set up; the thread starts with the ``with`` block.

        Args:
            source: what to iterate over.
            depth: items to hold at most.
        """
        self._source = source
        self._queue: Queue[_Item | BaseException | None] = Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="m2a-read-ahead", daemon=True)

    def __enter__(self) -> Iterator[_Item]:
        """Start, and give the items; an error of the source is raised where its item would have come."""
        self._thread.start()
        return self._items()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _items(self) -> Iterator[_Item]:
        while True:
            try:
                item = self._queue.get(timeout=_WAIT_S)
            except Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._source:
                if not self._put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again on the reader's side
            last = error
        self._put(last)

    def _put(self, item: _Item | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_WAIT_S)
            except Full:
                continue
            return True
        return False
