"""The overlays of a bag's cameras as videos, written while the bag is evaluated."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_ros.review.frame_rate import frame_rate

_FRAMES_FOR_RATE = 32


class OverlayVideo:
    """Writes an MP4 (MPEG-4 Part 2, which every OpenCV build can write); at ``path`` only once it is whole."""

    def __init__(self, path: Path) -> None:
        """Set up; the first frame decides the size, the first stamps the rate.

        Args:
            path: file to write, ending in .mp4.
        """
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._count = 0
        self._first: list[tuple[int, np.ndarray]] = []

    def add(self, stamp_ns: int, jpeg: np.ndarray) -> None:
        """Append a frame; one of another size is scaled to fit, with black beside or below it.

        Args:
            stamp_ns: its stamp, nanoseconds.
            jpeg: uint8 [N], the stream.

        Raises:
            DataError: OpenCV cannot write the video.
        """
        if self._writer is None:
            self._first.append((stamp_ns, jpeg))
            if len(self._first) == _FRAMES_FOR_RATE:
                self._open()
        else:
            self._write(jpeg)

    def finish(self) -> None:
        """Complete the file; there is none without a frame.

        Raises:
            DataError: it holds fewer frames than were added.
        """
        if self._writer is None and self._first:
            self._open()
        if self._writer is None:
            return
        self._writer.release()
        reader = cv2.VideoCapture(str(self._partial))
        count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if count != self._count:
            raise DataError(f"{self._path}: wrote {self._count} frames, {count} are in the file; check the disk")
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Drop it."""
        if self._writer is not None:
            self._writer.release()
        self._partial.unlink(missing_ok=True)

    def _open(self) -> None:
        height, width = _decode(self._first[0][1]).shape[:2]
        self._size = (max(2, width & ~1), max(2, height & ~1))
        rate = frame_rate([stamp for stamp, _ in self._first])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*"mp4v"), rate, self._size)
        if not self._writer.isOpened():
            raise DataError(f"{self._path}: OpenCV cannot write a video of {width}x{height} there")
        for _, jpeg in self._first:
            self._write(jpeg)
        self._first.clear()

    def _write(self, jpeg: np.ndarray) -> None:
        assert self._writer is not None
        self._writer.write(_fit(_decode(jpeg), self._size))
        self._count += 1


def _decode(jpeg: np.ndarray) -> np.ndarray:
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


def _fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    if (image.shape[1], image.shape[0]) == size:
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale))))
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
