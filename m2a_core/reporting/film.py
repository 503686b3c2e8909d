"""Films that browsers play: WebM with VP8, which OpenCV's own FFmpeg writes (it has no H.264)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.label_set import LabelSet
from m2a_core.reporting.legend import legend_strip

WIDTH = 480
"""Pixels a film is wide at most: VP8 takes its time, about 30 ms for a picture of this size."""

SUFFIX = ".webm"
_RATES = (1.0, 120.0)
_FALLBACK_RATE = 10.0


def frame_rate(times: Sequence[float]) -> float:
    """Pictures per second of times in seconds: after the median step forward; 10 where there is none."""
    steps = [after - before for before, after in pairwise(times) if after > before]
    return float(np.clip(1 / median(steps), *_RATES)) if steps else _FALLBACK_RATE


class Film:
    """A film being written; at ``path`` only once it is whole."""

    def __init__(self, path: Path, rate: float, labels: LabelSet | None = None, width: int = WIDTH) -> None:
        """Set up; the first picture decides the size.

        Args:
            path: file to write, ending in ``SUFFIX``.
            rate: pictures per second.
            labels: classes whose colours a legend below every picture names; None for no legend.
            width: wider pictures are scaled down to so many pixels.
        """
        self._path, self._rate, self._labels, self._width = path, rate, labels, width
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._legend: np.ndarray | None = None
        self.count = 0
        """Pictures so far."""

    def add(self, picture: np.ndarray) -> None:
        """Append a picture, uint8 [H, W, 3] BGR; one of another shape is fitted in, black beside or below it.

        Raises:
            DataError: OpenCV cannot write the film.
            OSError: the folder cannot be made.
        """
        if self._writer is None:
            self._writer = self._open(picture)
        shown = _fit(picture, self._size)
        self._writer.write(shown if self._legend is None else np.vstack([shown, self._legend]))
        self.count += 1

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def finish(self) -> None:
        """Complete the file; there is none without a picture.

        Raises:
            DataError: it holds fewer pictures than were added.
        """
        if self._writer is None:
            return
        self._writer.release()
        reader = cv2.VideoCapture(str(self._partial))
        count = round(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        # WebM tells its length in milliseconds, hence frames to within one.
        if abs(count - self.count) > 1:
            raise DataError(f"{self._path}: wrote {self.count} frames, {count} are in the file; check the disk")
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Drop it."""
        if self._writer is not None:
            self._writer.release()
        self._partial.unlink(missing_ok=True)

    def _open(self, picture: np.ndarray) -> cv2.VideoWriter:
        height, width = picture.shape[:2]
        scale = min(1.0, self._width / width)
        self._size = (max(2, round(width * scale) & ~1), max(2, round(height * scale) & ~1))
        width, height = self._size
        if self._labels is not None:
            self._legend = legend_strip(self._labels, width)[..., ::-1]
            height += len(self._legend)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _quiet():
            writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*"VP80"), self._rate, (width, height))
        if not writer.isOpened():
            raise DataError(
                f"{self._path}: OpenCV cannot write a VP8 film of {width}x{height} there; check the folder, and that "
                "OpenCV was built with FFmpeg (pip install opencv-python-headless)"
            )
        return writer


def _fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (min(width, round(picture.shape[1] * scale) or 1), min(height, round(picture.shape[0] * scale) or 1))
    small = picture if scale == 1 else cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    if small.shape[:2] == (height, width):
        return small
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small[:height, :width]
    return canvas


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV's notice that WebM has no code for VP8 off the terminal: it writes the film all the same."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
