"""One camera's unknown objects from frame to frame: track ids in every map, weak objects held where they were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2a_core.tracking.track_ids import promote_candidates, renumber
from m2a_core.tracking.tracker import Tracked, Tracker, TrackerConfig
from m2a_core.types import OpenSetResult

LOW_THRESHOLD = 0.955
"""Refined score f^r down to which an object that was seen before is held, unless the node's parameters differ."""


@dataclass(frozen=True)
class TrackedResult:
    """What a frame shows, seen together with those before it.

    Attributes:
        result: with the tracks' numbers in every map, and the candidates that are held among the instances.
        tracks: of each of the frame's own instances, then of its candidates.
    """

    result: OpenSetResult
    tracks: Sequence[Tracked]


def update_tracks(
    tracker: Tracker, stamp_ns: int, result: OpenSetResult, ground: np.ndarray, config: TrackerConfig, unknown: int
) -> TrackedResult:
    """Number the unknown instances of a camera's next frame.

    Args:
        tracker: the camera's.
        stamp_ns: of the frame, nanoseconds.
        result: of the frame, with ``unknown_instances``.
        ground: float64 [N, 2], metres, where each instance and then each candidate meets the ground; NaN where unknown.
        config: when an object is confirmed and lost.
        unknown: class id of unknown objects.
    """
    seen = (*result.instances, *result.candidates)
    strong = [True] * len(result.instances) + [False] * len(result.candidates)
    tracks = tracker.update(stamp_ns, [item.bbox for item in seen], ground, config, strong)
    of_instances, of_candidates = tracks[: len(result.instances)], tracks[len(result.instances) :]
    numbered = renumber(result, [track.track_id for track in of_instances], unknown)
    weak = zip(result.candidates, of_candidates, strict=True)
    held = {candidate.id: track.track_id for candidate, track in weak if track.confirmed}
    return TrackedResult(promote_candidates(numbered, held, unknown), tracks)
