"""Frames of several cameras that belong to one moment, handed to the worker together.

An anchor camera sets the pace (as in Autoware's camera_streampetr): its frame opens a batch; frames of the other
cameras join it whose stamps lie within ``max_spread`` of its stamp. Images take unlike times from camera to node, so
the last few of the other cameras are kept: the one of the anchor's moment may no longer be the latest. A camera that
did not come in time for the batch before is not waited for, so that a dead one costs one wait and no more. While the
anchor is silent, the camera whose latest frame waits longest opens the batches in its place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from m2a_ros.camera.frame_slot import REPLACED, IsBusy, ReceivedImage, never
from m2a_ros.parameters.camera_settings import BatchConfig

OUTSIDE_WINDOW = "outside_window"
_ANCHOR_SILENT_S = 0.5
_KEPT = 8
_MAX_DELAY_S = 1.0
"""Images do not take longer: a frame stamped later than this after the anchor's latest has a clock of its own."""


@dataclass(frozen=True)
class BatchFacts:
    """What diagnostics tell of batches: how many there were, and size and spread of the last."""

    count: int = 0
    cameras: int = 0
    spread_ms: float = 0.0


class BatchSlots:
    """The latest frames of each camera, emptied batch by batch; to the worker the same as ``FrameSlots``."""

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
        self._waiting: dict[str, deque[ReceivedImage]] = {name: deque() for name in self._order}
        self._matched = set(self._order)
        self._expected: set[str] = set()
        self._batch: deque[ReceivedImage] = deque()
        self._anchor_seen = time.monotonic()
        self._opened: float | None = None
        self._condition = threading.Condition()
        self._closed = False
        self.facts = BatchFacts()

    def put(self, image: ReceivedImage) -> bool:
        """Keep a message until its batch or a newer one of the same camera comes.

        Returns:
            Whether it pushed out one that no batch had taken.
        """
        with self._condition:
            camera, frames = image.camera, self._waiting[image.camera]
            anchor = camera == self._config.anchor
            full = len(frames) == (1 if anchor else _KEPT)
            if full:
                frames.popleft()
            frames.append(image)
            self._expected.add(camera)
            if anchor:
                self._anchor_seen = image.received_at
            self._condition.notify()
        if full and camera not in self._matched:
            self._on_drop(camera, OUTSIDE_WINDOW)
        return full and camera in self._matched

    def take(self, is_busy: IsBusy = never) -> list[ReceivedImage]:
        """Wait for the next batch, the anchor's message first, while no camera is busy. None once closed."""
        with self._condition:
            while not self._closed:
                delay = None
                if not any(is_busy(camera) for camera in self._order):
                    delay = self._assemble(time.monotonic())
                    if self._batch:
                        batch, self._batch = list(self._batch), deque()
                        return batch
                self._condition.wait(delay)
            return []

    def wake(self) -> None:
        """Look again which cameras are busy."""
        with self._condition:
            self._condition.notify()

    def close(self) -> None:
        """Drop what waits and release the worker."""
        with self._condition:
            self._closed = True
            for frames in self._waiting.values():
                frames.clear()
            self._batch.clear()
            self._condition.notify_all()

    def _assemble(self, now: float) -> float | None:
        """Fill the batch if one is complete or due; else give the seconds to look again after (None: on arrival)."""
        latest = [frames[-1] for frames in self._waiting.values() if frames]
        if not latest:
            return None
        if own := self._waiting[self._config.anchor]:
            opener = own[0]
        else:
            if (silent_at := self._anchor_seen + _ANCHOR_SILENT_S) > now:
                return silent_at - now
            opener = min(latest, key=lambda image: image.received_at)
        members = [member for name in self._order if (member := self._member(name, opener)) is not None]
        missing = {name for name in self._expected if not self._waiting[name]}
        # The first opener's wait counts: an anchor faster than the wait would put the batch off for ever.
        self._opened = opener.received_at if self._opened is None else self._opened
        if missing and (due := self._opened + self._config.wait) > now:
            return due - now
        self._opened = None
        self._expected -= missing
        stamps = [image.stamp_ns for image in members]
        self._matched = {image.camera for image in members}
        for image in members:
            self._drop_until(image)
        self._batch.extend(members)
        self.facts = BatchFacts(self.facts.count + 1, len(members), (max(stamps) - min(stamps)) / 1e6)
        return None

    def _member(self, camera: str, opener: ReceivedImage) -> ReceivedImage | None:
        """The camera's frame nearest to the opener's moment; drops those that belong to no batch to come."""
        frames = self._waiting[camera]
        ahead = [(image.stamp_ns - opener.stamp_ns) / 1e9 for image in frames]
        fitting = [i for i, seconds in enumerate(ahead) if abs(seconds) <= self._config.max_spread]
        if fitting:
            # The latest of equals, where a driver stamps all alike.
            return frames[min(reversed(fitting), key=lambda i: abs(ahead[i]))]
        kept = [image for image, seconds in zip(frames, ahead, strict=True) if 0 < seconds <= _MAX_DELAY_S]
        for _ in range(len(frames) - len(kept)):
            self._on_drop(camera, OUTSIDE_WINDOW)
        self._waiting[camera] = deque(kept)
        return None

    def _drop_until(self, member: ReceivedImage) -> None:
        """Take a member out, and what came before it: a later frame was of the batch's moment."""
        frames = self._waiting[member.camera]
        while frames.popleft() is not member:
            self._on_drop(member.camera, REPLACED)
