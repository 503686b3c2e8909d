"""The overlays of one camera as a video."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from m2a_core.errors import DataError

_FALLBACK_RATE = 10.0
_RATES = (1.0, 120.0)


def frame_rate(stamps: list[int]) -> float:
    """Frames per second of stamps in nanoseconds: after the median step forward; 10 where there is none."""
    steps = [after - before for before, after in pairwise(stamps) if after > before]
    return float(np.clip(1e9 / median(steps), *_RATES)) if steps else _FALLBACK_RATE


class OverlayVideo:
    """Writes an MP4 (MPEG-4 Part 2, which every OpenCV build can write)."""

    def __init__(self, path: Path, rate: float) -> None:
        """Set up; the first frame decides the size.

        Args:
            path: file to write, ending in .mp4.
            rate: frames per second.
        """
        self._path = path
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._count = 0

    def add(self, bgr: np.ndarray) -> None:
        """Append a frame, uint8 [H, W, 3]; one of another size is scaled to fit, with black beside or below it.

        Raises:
            DataError: OpenCV cannot write the video.
        """
        if self._writer is None:
            self._size = (max(2, bgr.shape[1] & ~1), max(2, bgr.shape[0] & ~1))
            self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, self._size)
            if not self._writer.isOpened():
                raise DataError(f"{self._path}: OpenCV cannot write a video of {self._size[0]}x{self._size[1]} there")
        self._writer.write(_fit(bgr, self._size))
        self._count += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            DataError: it holds fewer frames than were added.
        """
        if self._writer is None:
            return
        self._writer.release()
        reader = cv2.VideoCapture(str(self._path))
        count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if count != self._count:
            raise DataError(f"{self._path}: wrote {self._count} frames, {count} are in the file; check the disk")


def _fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale))))
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
