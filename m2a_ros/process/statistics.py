"""Counts and times of one camera, shared by the executor's thread and the worker's."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from m2a_core.errors import one_line


@dataclass(frozen=True)
class Snapshot:
    """One camera's figures at one moment.

    Attributes:
        received: frames that arrived since activation.
        camera_infos: calibrations that arrived.
        published: frames whose outputs were published.
        dropped: frames for which nothing was published, by reason.
        without_markers: frames whose markers were not published although somebody listened, by reason.
        odd_stamps: frames whose stamp cannot be used, by reason; they are processed nevertheless.
        odd_images: images whose stream is not as it should be, by reason; they are processed all the same.
        degraded: images that show nothing or little of the scene, by reason; see ``m2a_core.stream.image_quality``.
        last_arrival: ``time.monotonic()`` of the last frame, or None.
        timings_ms: last value of each stage and latency, milliseconds.
        last_error: message of the last bad frame, or empty.
        unreadable: messages that cannot be deserialised and are not images, by topic.
        qos_mismatches: how many counterparts had a quality of service that does not fit, by "topic POLICY".
    """

    received: int = 0
    camera_infos: int = 0
    published: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    without_markers: dict[str, int] = field(default_factory=dict)
    odd_stamps: dict[str, int] = field(default_factory=dict)
    odd_images: dict[str, int] = field(default_factory=dict)
    last_arrival: float | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    last_error: str = ""
    qos_mismatches: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    degraded: dict[str, int] = field(default_factory=dict)


class CameraStatistics:
    """Collects the figures of one camera."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._reader_mismatches: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Back to zero, but for readers that do not fit: publishers live on, and DDS tells of a reader only once."""
        with self._lock:
            self._received = 0
            self._camera_infos = 0
            self._published = 0
            self._dropped: Counter[str] = Counter()
            self._without_markers: Counter[str] = Counter()
            self._odd_stamps: Counter[str] = Counter()
            self._odd_images: Counter[str] = Counter()
            self._last_arrival: float | None = None
            self._since = time.monotonic()
            self._timings: dict[str, float] = {}
            self._last_error = ""
            self._qos_mismatches: Counter[str] = Counter()
            self._unreadable: Counter[str] = Counter()
            self._degraded: Counter[str] = Counter()

    def arrived(self, when: float) -> None:
        """Count a frame that came at ``time.monotonic()`` = ``when``."""
        with self._lock:
            self._received += 1
            self._last_arrival = when

    def silent_s(self) -> float:
        """Seconds since the last frame, or since the beginning."""
        with self._lock:
            return time.monotonic() - (self._since if self._last_arrival is None else self._last_arrival)

    def camera_info_arrived(self) -> None:
        """Count a calibration."""
        with self._lock:
            self._camera_infos += 1

    def dropped(self, reason: str, error: str = "") -> None:
        """Count a frame for which nothing is published."""
        with self._lock:
            self._dropped[reason] += 1
            self._last_error = one_line(error) or self._last_error

    def dropped_rest(self, reason: str) -> None:
        """Count the frames that came and of which nothing is known: whoever worked on them was given up."""
        with self._lock:
            if (rest := self._received - self._published - self._dropped.total()) > 0:
                self._dropped[reason] += rest

    def published(self, timings_ms: dict[str, float]) -> None:
        """Count a frame whose outputs were published, with its times in milliseconds."""
        with self._lock:
            self._published += 1
            self._timings = dict(timings_ms)

    def without_markers(self, reason: str) -> None:
        """Count a frame whose markers could not be placed."""
        with self._lock:
            self._without_markers[reason] += 1

    def odd_stamp(self, reason: str) -> None:
        """Count a frame whose stamp cannot be used."""
        with self._lock:
            self._odd_stamps[reason] += 1

    def odd_image(self, reason: str) -> None:
        """Count an image whose stream is not as it should be."""
        with self._lock:
            self._odd_images[reason] += 1

    def degraded(self, reason: str) -> None:
        """Count an image that shows nothing or little of the scene."""
        with self._lock:
            self._degraded[reason] += 1

    def unreadable(self, what: str) -> None:
        """Count a message, no image, that cannot be deserialised."""
        with self._lock:
            self._unreadable[what] += 1

    def qos_mismatch(self, topic: str, policy: str) -> None:
        """Count a publisher whose quality of service does not fit a subscription."""
        with self._lock:
            self._qos_mismatches[f"{topic} {policy}"] += 1

    def reader_mismatch(self, topic: str, policy: str) -> None:
        """Count a reader whose quality of service does not fit an output."""
        with self._lock:
            self._reader_mismatches[f"{topic} {policy}"] += 1

    def snapshot(self) -> Snapshot:
        """The figures now."""
        with self._lock:
            return Snapshot(
                self._received,
                self._camera_infos,
                self._published,
                dict(self._dropped),
                dict(self._without_markers),
                dict(self._odd_stamps),
                dict(self._odd_images),
                self._last_arrival,
                dict(self._timings),
                self._last_error,
                dict(self._qos_mismatches + self._reader_mismatches),
                dict(self._unreadable),
                dict(self._degraded),
            )
