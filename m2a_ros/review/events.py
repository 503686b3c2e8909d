"""When frames were taken, and stretches of frames with unknown objects: what a person looks at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

MAX_GAP_S = 1.0
"""Frames with unknown objects farther apart are two events."""

_LONGEST_STEP_S = 5.0
_ASSUMED_STEP_S = 0.1
_ONE_CLOCK_S = 60.0
_NO_CLOCK = "stamps and times of recording stand still, so 0.1 s a frame is assumed"

Frames = Sequence[Mapping[str, Any]]
"""Lines of a bag's ``frames.jsonl``, in order."""


@dataclass(frozen=True)
class Times:
    """When a bag's frames were taken.

    Attributes:
        seconds: (camera, number of the camera's frame from 0) -> seconds on the bag's time line.
        source: what tells the time, in words.
    """

    seconds: Mapping[tuple[str, int], float]
    source: str

    @property
    def end(self) -> float:
        """The last frame's time."""
        return max(self.seconds.values(), default=0.0)

    def of(self, camera: str) -> list[float]:
        """Seconds of a camera's frames, in order."""
        return [seconds for (name, _), seconds in self.seconds.items() if name == camera]


@dataclass(frozen=True)
class Event:
    """A stretch in which a camera saw unknown objects.

    Attributes:
        bag: name of the bag.
        camera: name of the camera.
        first: number of its first frame, of the camera's.
        last: number of its last frame.
        frames: frames in it with unknown objects.
        runs: first and last number of each run of such frames without a gap.
        most: the most unknown objects in one frame.
        peak: number of the middle one of the frames that show the most.
    """

    bag: str
    camera: str
    first: int
    last: int
    frames: int
    runs: tuple[tuple[int, int], ...]
    most: int
    peak: int


def runs_of(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of ascending numbers without a gap."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def numbered(frames: Frames) -> list[tuple[str, int]]:
    """Camera and number within the camera, from 0, of each frame."""
    counts: dict[str, int] = {}
    keys = []
    for frame in frames:
        number = counts[frame["camera"]] = counts.get(frame["camera"], -1) + 1
        keys.append((frame["camera"], number))
    return keys


def stamps_tell(frames: Frames) -> bool:
    """Whether the stamps are times: ascending in each camera, and on one clock in all."""
    cameras: dict[str, list[int]] = {}
    for frame in frames:
        cameras.setdefault(frame["camera"], []).append(frame["stamp_ns"])
    ascending = all(before < after for stamps in cameras.values() for before, after in pairwise(stamps))
    starts = [stamps[0] for stamps in cameras.values()]
    return ascending and max(starts, default=0) - min(starts, default=0) <= 1e9 * _ONE_CLOCK_S


def times_of(frames: Frames) -> Times:
    """The time line of a bag: pauses are cut to 5 s, so that all of it can be seen.

    ``recorded_ns`` of the frames tells, where they have it (see ``stamps_tell``), else their stamps; where neither
    moves, frames are taken to be 0.1 s apart.
    """
    keys = numbered(frames)
    values, source = _clock(frames, keys)
    order = sorted(set(values))
    at, now = {order[0]: 0.0} if order else {}, 0.0
    for before, after in pairwise(order):
        now += min((after - before) / 1e9, _LONGEST_STEP_S)
        at[after] = now
    return Times({key: at[value] for key, value in zip(keys, values, strict=True)}, source)


def _clock(frames: Frames, keys: Sequence[tuple[str, int]]) -> tuple[list[int], str]:
    """Nanoseconds of each frame, and what tells them."""
    for field, source in (("recorded_ns", "time of recording"), ("stamp_ns", "stamps of the images")):
        values = [frame[field] for frame in frames if field in frame]
        if len(set(values)) > 1 or len(values) == 1:
            return values, source
    return [round(1e9 * _ASSUMED_STEP_S * number) for _, number in keys], _NO_CLOCK


def find_events(records: Mapping[str, Frames], times: Mapping[str, Times]) -> list[Event]:
    """The events of a replay, by bag, camera and time.

    Args:
        records: bag -> its frames.
        times: bag -> its time line.
    """
    events = []
    for bag, frames in records.items():
        cameras: dict[str, list[list[tuple[int, int]]]] = {}
        for (camera, number), frame in zip(numbered(frames), frames, strict=True):
            if not frame["unknown_instances"]:
                continue
            of = cameras.setdefault(camera, [])
            seconds = times[bag].seconds
            if of and 0 <= seconds[camera, number] - seconds[camera, of[-1][-1][0]] <= MAX_GAP_S:
                of[-1].append((number, frame["unknown_instances"]))
            else:
                of.append([(number, frame["unknown_instances"])])
        for camera, stretches in cameras.items():
            for run in stretches:
                most = max(count for _, count in run)
                peaks = [number for number, count in run if count == most]
                shown = tuple(runs_of([number for number, _ in run]))
                first, last = run[0][0], run[-1][0]
                events.append(Event(bag, camera, first, last, len(run), shown, most, peaks[len(peaks) // 2]))
    return events
