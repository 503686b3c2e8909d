"""The numbers of unknown objects in mode offline: those that the node gives without a ``camera_info``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from m2a_core.tracking.tracker import Tracker, TrackerConfig
from m2a_core.tracking.update import follow
from m2a_core.types import OpenSetResult

Box = tuple[int, int, int, int]


class Numbering:
    """Numbers the unknown instances of all cameras by their tracks, and holds the weak ones, as the node does."""

    def __init__(self, unknown_class: int) -> None:
        """Start with nothing seen; ``unknown_class`` is the class id of unknown objects."""
        self._unknown_class = unknown_class
        self._config = TrackerConfig()
        self._trackers: dict[str, Tracker] = defaultdict(Tracker)

    def number(self, camera: str, stamp_ns: int, result: OpenSetResult) -> OpenSetResult:
        """The result of a camera's next frame with its tracks' numbers in every map."""
        nowhere = _nowhere(len(result.instances) + len(result.candidates))
        tracker = self._trackers[camera]
        return follow(tracker, stamp_ns, result, nowhere, self._config, self._unknown_class).result

    def take_up(self, camera: str, stamp_ns: int, boxes: Sequence[Box], weak_boxes: Sequence[Box]) -> None:
        """Go through a frame of an earlier, killed replay, given the boxes of its instances and its candidates."""
        seen = [SimpleNamespace(bbox=tuple(box)) for box in (*boxes, *weak_boxes)]
        strong = [True] * len(boxes) + [False] * len(weak_boxes)
        self._trackers[camera].update(stamp_ns, seen, _nowhere(len(seen)), self._config, strong)  # type: ignore[arg-type]


def _nowhere(count: int) -> np.ndarray:
    return np.full((count, 2), np.nan)
