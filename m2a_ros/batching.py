"""Frames of several cameras that belong to one moment, handed to the worker together.

An anchor camera sets the pace (as in Autoware's camera_streampetr): its frame opens a batch; frames of the other
cameras join it whose stamps lie within ``max_spread`` of its stamp. A camera that did not come in time for the batch
before is not waited for, so that a dead one costs one wait and no more. While the anchor is silent, the frame that
waits longest opens the batches in its place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from m2a_ros.frame_slot import Arrival

OUTSIDE_WINDOW = "outside_window"
_ANCHOR_SILENT_S = 0.5


@dataclass(frozen=True)
class BatchConfig:
    """What belongs together.

    Attributes:
        anchor: the camera that sets the pace; empty for no batches.
        max_spread: seconds that stamps may lie from the anchor's.
        wait: seconds after the anchor's arrival that the others have to come.
    """

    anchor: str = ""
    max_spread: float = 0.05
    wait: float = 0.03


@dataclass(frozen=True)
class BatchFacts:
    """What diagnostics tell of batches: how many there were, and size and spread of the last."""

    count: int = 0
    cameras: int = 0
    spread_ms: float = 0.0


class BatchSlots:
    """One slot per camera, emptied batch by batch; to the worker the same as ``FrameSlots``."""

    def __init__(self, cameras: tuple[str, ...], config: BatchConfig, on_drop: Callable[[str, str], None]) -> None:
        """Make an empty slot for each camera.

        Args:
            cameras: their names.
            config: what belongs together; its anchor is one of ``cameras``.
            on_drop: called with camera and reason for a frame that fits no batch.
        """
        self._config = config
        self._on_drop = on_drop
        self._order = sorted(cameras, key=lambda name: name != config.anchor)
        self._waiting: dict[str, Arrival] = {}
        self._expected: set[str] = set()
        self._batch: deque[Arrival] = deque()
        self._anchor_seen = time.monotonic()
        self._opened: float | None = None
        self._condition = threading.Condition()
        self._closed = False
        self.facts = BatchFacts()

    def put(self, arrival: Arrival) -> bool:
        """Keep a message until its batch or a newer one of the same camera comes.

        Returns:
            Whether it pushed out one that no batch had taken.
        """
        with self._condition:
            replaced = arrival.camera in self._waiting
            self._waiting[arrival.camera] = arrival
            self._expected.add(arrival.camera)
            if arrival.camera == self._config.anchor:
                self._anchor_seen = arrival.received
            self._condition.notify()
        return replaced

    def take(self) -> Arrival | None:
        """Wait for the next message of a batch, the anchor's first. None once closed."""
        with self._condition:
            while not self._closed:
                if self._batch:
                    return self._batch.popleft()
                delay = self._assemble(time.monotonic())
                if not self._batch:
                    self._condition.wait(delay)
            return None

    def close(self) -> None:
        """Drop what waits and release the worker."""
        with self._condition:
            self._closed = True
            self._waiting.clear()
            self._batch.clear()
            self._condition.notify_all()

    def _assemble(self, now: float) -> float | None:
        """Fill the batch if one is complete or due; else give the seconds to look again after (None: on arrival)."""
        if not self._waiting:
            return None
        opener = self._waiting.get(self._config.anchor)
        if opener is None:
            if (silent_at := self._anchor_seen + _ANCHOR_SILENT_S) > now:
                return silent_at - now
            opener = min(self._waiting.values(), key=lambda arrival: arrival.received)
        members = self._members(opener)
        missing = self._expected - self._waiting.keys()
        # The first opener's wait counts: an anchor faster than the wait would put the batch off for ever.
        self._opened = opener.received if self._opened is None else self._opened
        if missing and (due := self._opened + self._config.wait) > now:
            return due - now
        self._opened = None
        self._expected -= missing
        stamps = [arrival.stamp_ns for arrival in members]
        for arrival in members:
            del self._waiting[arrival.camera]
        self._batch.extend(members)
        self.facts = BatchFacts(self.facts.count + 1, len(members), (max(stamps) - min(stamps)) / 1e6)
        return None

    def _members(self, opener: Arrival) -> list[Arrival]:
        """The waiting frames that belong to the opener's moment; drops those that belong to none to come."""
        members = []
        for name in self._order:
            if (arrival := self._waiting.get(name)) is None:
                continue
            ahead_s = (arrival.stamp_ns - opener.stamp_ns) / 1e9
            if abs(ahead_s) <= self._config.max_spread:
                members.append(arrival)
            elif ahead_s < 0 or arrival.received < opener.received:
                # Came before the opener and is stamped after it: a clock of its own. What came after can be the next's.
                del self._waiting[name]
                self._on_drop(name, OUTSIDE_WINDOW)
        return members
