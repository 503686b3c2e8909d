"""Frames of a video file, a webcam or a network stream, through OpenCV."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.image_header import MAX_PIXELS
from m2a_core.types import Frame

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".mjpeg", ".mjpg")
_SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://")
_FALLBACK_RATE = 25.0
_RATES = (1.0, 240.0)
_SILENT_S = 10.0
"""A live source that gives nothing for so long has ended."""


def is_video(argument: str) -> bool:
    """Whether an argument names a video file, a camera's index or a stream's URL, by its form alone."""
    return argument.isdecimal() or argument.startswith(_SCHEMES) or argument.lower().endswith(VIDEO_SUFFIXES)


def source_name(argument: str) -> str:
    """A name for files: ``camera0``, the host and port of a URL without who logs in, or a file's stem."""
    if argument.isdecimal():
        return f"camera{argument}"
    if argument.startswith(_SCHEMES):
        return argument.partition("://")[2].split("/")[0].rpartition("@")[2].replace(":", "_")
    return Path(argument).stem


def shown_source(argument: str) -> str:
    """A source for messages: a URL without who logs in."""
    scheme, separator, rest = argument.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


class VideoSource:
    """A source of frames; a context manager.

    A file gives every frame, stamped by its frame rate from 0. A camera or a stream gives the latest frame whenever one
    is asked for, stamped when it was received: what came in the meantime is dropped, never queued.

    Attributes:
        name: see ``source_name``.
        is_live: whether it is a camera or stream, not a file.
        rate: frames per second that the source states; 25 where it states none.
        count: frames in a file as it states them; None for a live source.
        dropped: frames of a live source that came faster than they were read.
    """

    def __init__(self, argument: str) -> None:
        """Open it.

        Args:
            argument: a file, a camera's index, or a URL.

        Raises:
            DataError: it cannot be opened, or its frames are too large.
        """
        self._shown = shown_source(argument)
        self.is_live = argument.isdecimal() or argument.startswith(_SCHEMES)
        self.name = source_name(argument)
        if not self.is_live and not Path(argument).is_file():
            raise DataError(f"{argument}: no such video file")
        self._capture = cv2.VideoCapture(int(argument)) if argument.isdecimal() else cv2.VideoCapture(argument)
        if not self._capture.isOpened():
            what = "camera" if argument.isdecimal() else "stream" if self.is_live else "video"
            raise DataError(
                f"{self._shown}: OpenCV cannot open this {what}; check that it exists, that nothing else uses it, "
                "and that its codec is supported"
            )
        width, height = (int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            self._capture.release()
            raise DataError(f"{self._shown}: frames of {width}x{height}, expected at most {MAX_PIXELS} pixels")
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = stated if _RATES[0] <= stated <= _RATES[1] else _FALLBACK_RATE
        frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = frames if not self.is_live and frames > 0 else None
        self.dropped = 0
        self._closed = threading.Event()
        self._condition = threading.Condition()
        self._latest: tuple[np.ndarray, int] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> VideoSource:
        """Start to receive, if the source is live."""
        if self.is_live:
            self._thread = threading.Thread(target=self._receive, name="m2a_video", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the source."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=_SILENT_S)
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """The frames, RGB.

        Raises:
            DataError: a file holds no frame that can be decoded, or a live source never gave one.
        """
        number = 0
        while (item := self._next_live() if self.is_live else self._next_of_file(number)) is not None:
            bgr, stamp_ns = item
            number += 1
            yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), stamp_ns, self.name, self.name)
        if number == 0:
            raise DataError(f"{self._shown}: no frame can be read from it; check the codec, or the connection")

    def _next_of_file(self, number: int) -> tuple[np.ndarray, int] | None:
        done, image = self._capture.read()
        return (image, round(1e9 * number / self.rate)) if done else None

    def _next_live(self) -> tuple[np.ndarray, int] | None:
        with self._condition:
            self._condition.wait_for(lambda: self._latest is not None or self._closed.is_set(), timeout=_SILENT_S)
            item, self._latest = self._latest, None
            return item

    def _receive(self) -> None:
        while not self._closed.is_set():
            done, image = self._capture.read()
            if not done:
                self._closed.set()
            with self._condition:
                if done:
                    self.dropped += self._latest is not None
                    self._latest = (image, time.time_ns())
                self._condition.notify()
