"""The numbers of unknown objects in mode offline: those that the node gives without a ``camera_info``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from m2a_core.openset.numbering import renumber
from m2a_core.openset.tracking import Tracker, TrackerConfig
from m2a_core.types import OpenSetResult

Box = tuple[int, int, int, int]


class Numbering:
    """Numbers the unknown instances of all cameras by their tracks, as ``m2a_ros.unknown_objects`` does."""

    def __init__(self, unknown_class: int) -> None:
        """Start with nothing seen; ``unknown_class`` is the class id of unknown objects."""
        self._unknown_class = unknown_class
        self._trackers: dict[str, Tracker] = defaultdict(Tracker)

    def number(self, camera: str, stamp_ns: int, result: OpenSetResult) -> OpenSetResult:
        """The result of a camera's next frame with its tracks' numbers in every map."""
        return renumber(result, self._update(camera, stamp_ns, result.instances), self._unknown_class)

    def take_up(self, camera: str, stamp_ns: int, boxes: Sequence[Box]) -> None:
        """Go through a frame of an earlier, killed replay, given the boxes of its instances."""
        self._update(camera, stamp_ns, [SimpleNamespace(bbox=tuple(box)) for box in boxes])

    def _update(self, camera: str, stamp_ns: int, instances: Sequence[Any]) -> list[int]:
        nowhere = np.full((len(instances), 2), np.nan)
        tracks = self._trackers[camera].update(stamp_ns, instances, nowhere, TrackerConfig())
        return [track.number for track in tracks]
