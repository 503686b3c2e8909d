"""ROS 2 bags, read without ROS: whatever is wrong with one ends in a ``DataError`` that names it.

Only ``sensor_msgs`` types are decoded, with their definitions of ROS 2 Kilted, which are those of Humble to Kilted; a
bag that recorded another definition of one (by its REP-2011 type hash) is refused. Types of any other topic do not
matter, known or not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from m2a_core.errors import DataError
from m2a_ros.bag.folder import BagReader, check_folder
from m2a_ros.bag.storage import METADATA, STORAGE_SUFFIXES, check_files, explain

IMAGE, COMPRESSED, CAMERA_INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))
IMAGE_TYPES = (IMAGE, COMPRESSED)
TYPESTORE = get_typestore(Stores.ROS2_KILTED)

_HASH_BLOCK = 1 << 22
_ENDS = 1 << 16
# Beyond the first day and before the second year there is neither a clock that began at zero nor one of this century.
_NO_CLOCK_NS, _CLOCK_NS = 86_400 * 10**9, 365 * 86_400 * 10**9
_LAST_NS = 1 << 63
_Value = TypeVar("_Value")


class UndecodableMessage(DataError):
    """The bytes of a message are none of its type."""


class Bag:
    """An open bag; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the bag.

        Args:
            path: bag folder with its ``metadata.yaml``, or a storage file (.mcap, .db3).

        Raises:
            DataError: no such bag, no bag at all, damaged, cut short, without ``metadata.yaml``, or with one that
                says something else than its files.
        """
        self.path = path
        self._guard(lambda: check_files(path), "cannot be read")
        self._reader: BagReader = self._guard(lambda: BagReader(path), "is not a readable bag")
        self._guard(self._reader.open, "is not a readable bag")
        try:
            check_folder(self._reader)
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> Bag:
        """The bag itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def connections(self) -> list[Connection]:
        """Topics with type and message count."""
        return list(self._reader.connections)

    @property
    def start_ns(self) -> int:
        """When the first message was recorded, nanoseconds; times near zero amid those of a clock do not count."""
        return self._span[0]

    @property
    def duration_s(self) -> float:
        """Seconds from the first message to the last, as ``start_ns`` counts."""
        return max(0, self._span[1] - self._span[0]) / 1e9

    @cached_property
    def _span(self) -> tuple[int, int]:
        """Times of recording of the first message and the last, nanoseconds."""
        start, end = int(self._reader.start_time), int(self._reader.end_time) - 1
        if end < _CLOCK_NS or (start >= _NO_CLOCK_NS and end < _LAST_NS):
            return start, end
        # Converters write static transforms at zero, and clocks that overflow the largest numbers there are.
        times = [time for _, time, _ in self.messages(self.connections) if _NO_CLOCK_NS <= time < _LAST_NS]
        return (min(times), max(times)) if times else (start, end)

    @property
    def distribution(self) -> str:
        """Name of the ROS distribution that recorded the bag, or an empty string where it does not say."""
        return self._reader.ros_distro or ""

    def messages(self, connections: list[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """Topic, time of recording in nanoseconds, and serialised message, by time of recording.

        Raises:
            DataError: the bag is damaged, or holds fewer messages than it says: it was cut short.
        """
        if not connections:
            return
        expected, count = sum(connection.msgcount for connection in connections), 0
        source = self._guard(lambda: iter(self._reader.messages(connections)), "cannot be read")
        while True:
            item = self._guard(lambda: next(source, None), f"is damaged after {count} of {expected} messages")
            if item is None:
                break
            count += 1
            yield item
        if count != expected:
            raise DataError(
                f"bag {self.path}: holds {count} messages on {sorted({c.topic for c in connections})}, but its index "
                f"says {expected}: {explain(self.path)}"
            )

    def first(self, connection: Connection) -> Any:
        """First message on a topic, decoded.

        Raises:
            DataError: as ``messages`` and ``decode``, or the topic is empty.
        """
        return decode(self.first_bytes(connection), connection.msgtype)

    def first_bytes(self, connection: Connection) -> bytes:
        """First message on a topic, serialised.

        Raises:
            DataError: as ``messages``, or the topic is empty.
        """
        for _, _, data in self.messages([connection]):
            return data
        raise DataError(f"bag {self.path}: no message on {connection.topic}")

    def check_definition(self, connection: Connection) -> None:
        """Make sure that a topic's recorded type is the one that is decoded.

        Raises:
            DataError: its hash is another.
        """
        want = TYPESTORE.hash_rihs01(connection.msgtype)
        if connection.digest and connection.digest != want:
            raise DataError(
                f"bag {self.path}: topic {connection.topic} was recorded with another definition of "
                f"{connection.msgtype} (hash {connection.digest}, expected {want}); "
                "record it with ROS 2 Humble to Kilted"
            )

    def _guard(self, call: Callable[[], _Value], what: str) -> _Value:
        try:
            return call()
        except DataError:
            raise
        except PermissionError as error:
            raise DataError(f"bag {self.path}: no permission to read it") from error
        except Exception as error:
            # On damaged files the parser fails in many ways, down to SQLite's, zstd's and struct's own errors.
            raise DataError(
                f"bag {self.path} {what} ({type(error).__name__}: {error}): {explain(self.path)}"
            ) from error


def decode(data: bytes, msgtype: str) -> Any:
    """Decode a serialised message.

    Raises:
        UndecodableMessage: the bytes are not such a message.
    """
    try:
        return TYPESTORE.deserialize_cdr(data, msgtype)
    except Exception as error:
        # The generated parser indexes into the bytes: any of several built-in errors.
        raise UndecodableMessage(f"{len(data)} bytes are not a {msgtype} ({type(error).__name__}: {error})") from error


def fingerprint(path: Path, stop: Event | None = None) -> str:
    """SHA-256, hex, over the names and contents of a bag's files.

    Args:
        path: the bag.
        stop: set by another thread to end early, with a value that means nothing.

    Raises:
        DataError: a file cannot be read.
    """
    return _digest(path, None, stop)


def quick_fingerprint(path: Path) -> str:
    """SHA-256, hex, over the names, sizes, beginnings and ends of a bag's files.

    The index at the end of an MCAP file holds the times, sizes and offsets of all chunks.

    Raises:
        DataError: a file cannot be read.
    """
    return _digest(path, _ENDS)


def _digest(path: Path, ends: int | None, stop: Event | None = None) -> str:
    """SHA-256 over a bag's files, or over so many bytes at both of their ends."""
    digest = hashlib.sha256()
    try:
        files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file() and _belongs(p))
        for file in files:
            size = file.stat().st_size
            digest.update(f"{file.name}\0{size}\0".encode())
            with file.open("rb") as stream:
                if ends is not None and size > 2 * ends:
                    digest.update(stream.read(ends))
                    stream.seek(-ends, os.SEEK_END)
                while (block := stream.read(_HASH_BLOCK)) and not (stop and stop.is_set()):
                    digest.update(block)
    except OSError as error:
        raise DataError(f"bag {path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _belongs(file: Path) -> bool:
    """Whether a file in a bag's folder is part of the bag; storage files may end in a compressor's name."""
    return file.name == METADATA or not set(STORAGE_SUFFIXES).isdisjoint(file.suffixes)
