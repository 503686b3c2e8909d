"""Stretches of frames with unknown objects: what a person looks at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_GAP_S = 1.0
"""Frames with unknown objects farther apart are two events."""


@dataclass(frozen=True)
class Event:
    """A stretch in which a camera saw unknown objects.

    Attributes:
        bag: name of the bag.
        camera: name of the camera.
        start_ns: stamp of its first frame.
        end_ns: stamp of its last frame.
        frames: frames in it with unknown objects.
        most: the most unknown objects in one frame.
        peak_ns: stamp of the middle one of the frames that show the most.
    """

    bag: str
    camera: str
    start_ns: int
    end_ns: int
    frames: int
    most: int
    peak_ns: int

    @property
    def seconds(self) -> float:
        """From its first frame to its last."""
        return (self.end_ns - self.start_ns) / 1e9


def find_events(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Event]:
    """The events of a replay.

    Args:
        records: bag -> its lines of ``frames.jsonl``, in order.

    Returns:
        By bag, camera and order of recording; a stamp that goes back ends an event.
    """
    events = []
    for bag, frames in records.items():
        streams: dict[str, list[list[Mapping[str, Any]]]] = {}
        for frame in frames:
            if not frame["unknown_instances"]:
                continue
            runs = streams.setdefault(frame["camera"], [])
            step = frame["stamp_ns"] - runs[-1][-1]["stamp_ns"] if runs else -1
            if 0 <= step <= MAX_GAP_S * 1e9:
                runs[-1].append(frame)
            else:
                runs.append([frame])
        for camera, runs in streams.items():
            for run in runs:
                most = max(frame["unknown_instances"] for frame in run)
                peaks = [frame["stamp_ns"] for frame in run if frame["unknown_instances"] == most]
                start, end = run[0]["stamp_ns"], run[-1]["stamp_ns"]
                events.append(Event(bag, camera, start, end, len(run), most, peaks[len(peaks) // 2]))
    return events
