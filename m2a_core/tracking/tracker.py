"""Stable ids of unknown instances over the frames of one camera.

Instances are paired with the tracks of earlier frames so that the sum of affinities is largest. The affinity of a pair
is the larger of the IoU of their boxes and of how close they are on the ground; both against where the track would be
now if it went on as before. Boxes serve large and slow objects and those that meet no ground; the ground serves small
and fast ones, whose boxes do not overlap from frame to frame. (After SORT, Bewley et al., ICIP 2016, with a constant
velocity in place of the Kalman filter: unknown objects have no class to take noise parameters from.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from m2a_core.openset.instances import MAX_INSTANCES
from m2a_core.tracking.assignment import assign

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""

# A multiple of MAX_INSTANCES, so that the 8-bit form also follows from an id that came back.
_MAX_ID = 65535
_MIN_IOU = 0.1
# How far from its predicted place an object may turn up: placing it on the ground from pixels is good to about a metre
# at short range, and its speed towards the vehicle is not known at first.
_GATE_M, _GATE_SPEED_M_S, _MAX_GATE_M = 1.0, 20.0, 5.0
_VELOCITY_UPDATE = 0.5


@dataclass(frozen=True)
class TrackerConfig:
    """When a track begins and ends.

    Attributes:
        min_hits: frames that an instance must be strong in, without one between that lacks it, before its track
            is confirmed, >= 1.
        min_low_hits: frames in a row that confirm a track whether its instance is strong in them or not; 0 for no
            number of them.
        max_age: frames a confirmed track may go unseen and still be taken up again, >= 0.
        max_gap_s: seconds between two frames after which nothing of before is taken up.
    """

    min_hits: int = 2
    min_low_hits: int = 4
    max_age: int = 5
    max_gap_s: float = 3.0


@dataclass(frozen=True)
class Tracked:
    """What an instance is over time.

    Attributes:
        number: of its track, 1..65535, from the track's first frame on. No two tracks that live at once share
            ``panoptic_instance(track_id)``; an id comes back after 65535 others.
        confirmed: its track was seen often enough to be shown.
    """

    track_id: int
    confirmed: bool


def panoptic_instance(track_id: int) -> int:
    """The 8-bit instance, 1..255, that stands for a track's id in panoptic maps."""
    return (track_id - 1) % MAX_INSTANCES + 1


@dataclass
class _Track:
    """State is x0, y0, x1, y1 in pixels and x, y on the ground in metres (NaN where unknown); velocity per second.

    Lists: with six numbers of one track, each call of NumPy would take longer than all that is computed here.
    """

    track_id: int
    state: list[float]
    velocity: list[float]
    seen_ns: int
    strong: int
    hits: int = 1
    missed: int = 0
    confirmed: bool = False

    def predicted(self, stamp_ns: int) -> list[float]:
        """The state at a time, if the object goes on as before."""
        seconds = 1e-9 * (stamp_ns - self.seen_ns)
        return [value + seconds * speed for value, speed in zip(self.state, self.velocity, strict=True)]

    def see(self, state: list[float], stamp_ns: int, strong: bool) -> None:
        """Take up what was seen."""
        if stamp_ns > self.seen_ns:
            seconds = 1e-9 * (stamp_ns - self.seen_ns)
            # The first measurement replaces the zero that a track starts with.
            share = 1.0 if self.hits == 1 else _VELOCITY_UPDATE
            steps = ((new - old) / seconds for new, old in zip(state, self.state, strict=True))
            speeds = (old + share * (new - old) for new, old in zip(steps, self.velocity, strict=True))
            # Where either place is unknown, so is the speed.
            self.velocity = [speed if isfinite(speed) else 0.0 for speed in speeds]
        self.state, self.seen_ns = state, stamp_ns
        self.hits, self.missed = self.hits + 1, 0
        self.strong += strong


def next_track_id(last: int, living: Iterable[int]) -> int:
    """The number after ``last``, 1..65535 and round again, whose 8-bit form no living track's id has."""
    taken = {panoptic_instance(track_id) for track_id in living}
    while True:
        last = last % _MAX_ID + 1
        if panoptic_instance(last) not in taken:
            return last


class Tracker:
    """Gives the unknown instances of one camera ids that last; the same frames give the same ids."""

    def __init__(self) -> None:
        """Start without tracks; the first id is 1."""
        self._tracks: list[_Track] = []
        self._stamp_ns: int | None = None
        self._last_id = 0

    def update(
        self,
        stamp_ns: int,
        boxes: Sequence[Box],
        ground: np.ndarray,
        config: TrackerConfig,
        strong: Sequence[bool] | None = None,
    ) -> list[Tracked]:
        """Take in what the next frame shows.

        A stamp before the last one (a bag that starts over, a clock that was set) ends all tracks; equal stamps (a
        camera that stamps nothing) are one moment after another without motion.

        Args:
            stamp_ns: acquisition time of the frame, nanoseconds.
            boxes: x0, y0, x1, y1 in pixels of each instance, at most 255.
            ground: float64 [N, 2], metres, where each meets the ground; NaN where it does not.
            config: when a track begins and ends.
            strong: whether each is an instance by itself, or a candidate that counts only where it was seen before;
                None for all strong.

        Returns:
            The track of each instance.
        """
        if self._stamp_ns is not None and not 0 <= stamp_ns - self._stamp_ns <= 1e9 * config.max_gap_s:
            self._tracks.clear()
        self._stamp_ns = stamp_ns
        places = np.asarray(ground, np.float64).reshape(-1, 2).tolist()
        states = [[*map(float, box), *place] for box, place in zip(boxes, places, strict=True)]
        pairs = dict(assign(self._affinity(states, stamp_ns)))
        of_instance: dict[int, _Track] = {}
        strong = [True] * len(states) if strong is None else strong
        for index, track in enumerate(self._tracks):
            if index in pairs:
                track.see(states[pairs[index]], stamp_ns, strong[pairs[index]])
                of_instance[pairs[index]] = track
            else:
                track.missed += 1
        # A track that is not confirmed ends with the first frame that lacks it: what flickers is never confirmed.
        self._tracks = [t for t in self._tracks if t.missed <= (config.max_age if t.confirmed else 0)]
        self._make_room(len(states) - len(of_instance))
        for index in range(len(states)):
            if index not in of_instance:
                self._last_id = next_track_id(self._last_id, [track.track_id for track in self._tracks])
                of_instance[index] = _Track(self._last_id, states[index], [0.0] * 6, stamp_ns, int(strong[index]))
                self._tracks.append(of_instance[index])
        for track in of_instance.values():
            supported = config.min_low_hits > 0 and track.hits >= max(config.min_low_hits, config.min_hits)
            track.confirmed = track.confirmed or supported or track.strong >= config.min_hits
        return [Tracked(of_instance[index].track_id, of_instance[index].confirmed) for index in range(len(states))]

    def _make_room(self, new: int) -> None:
        """End the tracks unseen longest where there would be more than panoptic maps can number."""
        excess = len(self._tracks) + new - MAX_INSTANCES
        if excess > 0:
            gone = {id(track) for track in sorted(self._tracks, key=lambda track: -track.missed)[:excess]}
            self._tracks = [track for track in self._tracks if id(track) not in gone]

    def _affinity(self, seen: Sequence[list[float]], stamp_ns: int) -> np.ndarray:
        """float64 [tracks, instances] in [0, 1]; 0 where the two cannot be the same."""
        if not self._tracks or not seen:
            return np.zeros((len(self._tracks), len(seen)))
        states = np.array(seen)
        predicted = np.array([track.predicted(stamp_ns) for track in self._tracks])
        unseen = 1e-9 * (stamp_ns - np.array([track.seen_ns for track in self._tracks]))
        gates = np.minimum(_GATE_M + _GATE_SPEED_M_S * unseen, _MAX_GATE_M)
        iou = _iou(predicted[:, :4], states[:, :4])
        x, y = (predicted[:, None, axis] - states[None, :, axis] for axis in (4, 5))
        # No place, no closeness: of a number and NaN, fmax takes the number.
        closeness = np.fmax(1 - np.sqrt(x * x + y * y) / gates[:, None], 0.0)
        affinity: np.ndarray = np.maximum(np.where(iou >= _MIN_IOU, iou, 0.0), closeness)
        return affinity


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float64 [N, M] intersection over union of boxes [N, 4] and [M, 4]; one turned inside out has no area."""
    sizes = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    shared = np.maximum(sizes[..., 0], 0.0) * np.maximum(sizes[..., 1], 0.0)
    areas = [
        np.maximum(boxes[:, 2] - boxes[:, 0], 0.0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
        for boxes in (first, second)
    ]
    iou: np.ndarray = shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)
    return iou
