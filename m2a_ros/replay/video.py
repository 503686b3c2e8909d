"""The overlays of a bag's cameras as films, written while the bag is evaluated."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.reporting.film import Film, frame_rate

_FRAMES_FOR_RATE = 32


class OverlayVideo:
    """Writes a film with a legend that browsers play; at ``path`` only once it is whole."""

    def __init__(self, path: Path, labels: LabelSet) -> None:
        """Set up; the first frame decides the size, the first stamps the rate.

        Args:
            path: file to write, ending in ``film.SUFFIX``.
            labels: the classes, for the legend.
        """
        self._path, self._labels = path, labels
        self._film: Film | None = None
        self._first: list[tuple[int, np.ndarray]] = []

    def add(self, stamp_ns: int, jpeg: np.ndarray) -> None:
        """Append a frame; one of another shape is fitted in, with black beside or below it.

        Args:
            stamp_ns: its stamp, nanoseconds.
            jpeg: uint8 [N], the stream.

        Raises:
            DataError: OpenCV cannot write the film.
        """
        if self._film is not None:
            self._film.add(_decode(jpeg))
            return
        self._first.append((stamp_ns, jpeg))
        if len(self._first) == _FRAMES_FOR_RATE:
            self._begin()

    def finish(self) -> None:
        """Complete the file; there is none without a frame.

        Raises:
            DataError: it holds fewer frames than were added.
        """
        if self._film is None and self._first:
            self._begin()
        if self._film is not None:
            self._film.finish()

    def abandon(self) -> None:
        """Drop it."""
        if self._film is not None:
            self._film.abandon()

    def _begin(self) -> None:
        self._film = Film(self._path, frame_rate([stamp / 1e9 for stamp, _ in self._first]), self._labels)
        for _, jpeg in self._first:
            self._film.add(_decode(jpeg))
        self._first.clear()


def _decode(jpeg: np.ndarray) -> np.ndarray:
    frame: np.ndarray = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return frame
