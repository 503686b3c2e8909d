"""Stable ids of unknown instances over the frames of one camera.

Instances are paired with the tracks of earlier frames so that the sum of affinities is largest. The affinity of a pair
is the larger of the IoU of their boxes and of how close they are on the ground; both against where the track would be
now if it went on as before. Boxes serve large and slow objects and those that meet no ground; the ground serves small
and fast ones, whose boxes do not overlap from frame to frame. (After SORT, Bewley et al., ICIP 2016, with a constant
velocity in place of the Kalman filter: unknown objects have no class to take noise parameters from.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2a_core.openset.assignment import assign
from m2a_core.types import UnknownInstance

_MIN_IOU = 0.1
# How far from its predicted place an object may turn up: placing it on the ground from pixels is good to about a metre
# at short range, and its speed towards the vehicle is not known at first.
_GATE_M, _GATE_SPEED_M_S, _MAX_GATE_M = 1.0, 20.0, 5.0
_VELOCITY_UPDATE = 0.5


@dataclass(frozen=True)
class TrackerConfig:
    """When a track begins and ends.

    Attributes:
        confirm_frames: frames in a row an instance must be seen in before it gets an id, >= 1.
        keep_frames: frames a track with an id may go unseen and still be taken up again, >= 0.
        max_gap_s: seconds between two frames after which nothing of before is taken up.
    """

    confirm_frames: int = 2
    keep_frames: int = 5
    max_gap_s: float = 3.0


@dataclass
class _Track:
    """State is x0, y0, x1, y1 in pixels and x, y on the ground in metres (NaN where unknown); velocity per second."""

    state: np.ndarray
    velocity: np.ndarray
    seen_ns: int
    hits: int = 1
    missed: int = 0
    id: int | None = None

    def predicted(self, stamp_ns: int) -> np.ndarray:
        """The state at a time, if the object goes on as before."""
        return self.state + self.velocity * (1e-9 * (stamp_ns - self.seen_ns))

    def see(self, state: np.ndarray, stamp_ns: int) -> None:
        """Take up what was seen."""
        if stamp_ns > self.seen_ns:
            measured = (state - self.state) / (1e-9 * (stamp_ns - self.seen_ns))
            # The first measurement replaces the zero that a track starts with.
            share = 1.0 if self.hits == 1 else _VELOCITY_UPDATE
            self.velocity = np.nan_to_num(self.velocity + share * (measured - self.velocity))
        self.state, self.seen_ns = state, stamp_ns
        self.hits, self.missed = self.hits + 1, 0


class Tracker:
    """Gives the unknown instances of one camera ids that last; the same frames give the same ids."""

    def __init__(self) -> None:
        """Start without tracks; the first id is 1, and no id is given twice in the tracker's life."""
        self._tracks: list[_Track] = []
        self._stamp_ns: int | None = None
        self._next_id = 1

    def update(
        self, stamp_ns: int, instances: Sequence[UnknownInstance], ground: np.ndarray, config: TrackerConfig
    ) -> list[int | None]:
        """Take in the instances of the next frame.

        A stamp before the last one (a bag that starts over, a clock that was set) ends all tracks; equal stamps (a
        camera that stamps nothing) are one moment after another without motion.

        Args:
            stamp_ns: acquisition time of the frame, nanoseconds.
            instances: of the frame.
            ground: float64 [N, 2], metres, where each instance meets the ground; NaN where it does not.
            config: when a track begins and ends.

        Returns:
            The id of each instance; None while its track is not confirmed.
        """
        if self._stamp_ns is not None and not 0 <= stamp_ns - self._stamp_ns <= 1e9 * config.max_gap_s:
            self._tracks.clear()
        self._stamp_ns = stamp_ns
        boxes = np.array([instance.bbox for instance in instances], np.float64).reshape(-1, 4)
        states = np.hstack([boxes, np.asarray(ground, np.float64).reshape(-1, 2)])
        pairs = dict(assign(self._affinity(states, stamp_ns)))
        of_instance: dict[int, _Track] = {}
        for number, track in enumerate(self._tracks):
            if number in pairs:
                track.see(states[pairs[number]], stamp_ns)
                of_instance[pairs[number]] = track
            else:
                track.missed += 1
        for number in range(len(states)):
            if number not in of_instance:
                of_instance[number] = _Track(states[number], np.zeros(6), stamp_ns)
                self._tracks.append(of_instance[number])
        # A track without an id ends with the first frame that lacks it: what flickers is never confirmed.
        self._tracks = [t for t in self._tracks if t.missed <= (0 if t.id is None else config.keep_frames)]
        return [self._identify(of_instance[number], config) for number in range(len(states))]

    def _identify(self, track: _Track, config: TrackerConfig) -> int | None:
        if track.id is None and track.hits >= config.confirm_frames:
            track.id, self._next_id = self._next_id, self._next_id + 1
        return track.id

    def _affinity(self, states: np.ndarray, stamp_ns: int) -> np.ndarray:
        """float64 [tracks, instances] in [0, 1]; 0 where the two cannot be the same."""
        if not self._tracks or not len(states):
            return np.zeros((len(self._tracks), len(states)))
        predicted = np.array([track.predicted(stamp_ns) for track in self._tracks])
        unseen = 1e-9 * (stamp_ns - np.array([track.seen_ns for track in self._tracks]))
        gates = np.minimum(_GATE_M + _GATE_SPEED_M_S * unseen, _MAX_GATE_M)
        iou = _iou(predicted[:, :4], states[:, :4])
        distance = np.linalg.norm(predicted[:, None, 4:] - states[None, :, 4:], axis=2)
        closeness = np.nan_to_num(1 - distance / gates[:, None], nan=0.0)
        return np.maximum(np.where(iou >= _MIN_IOU, iou, 0.0), np.clip(closeness, 0.0, None))


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float64 [N, M] intersection over union of boxes [N, 4] and [M, 4]; one turned inside out has no area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)
