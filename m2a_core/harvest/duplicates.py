"""One object that the tracker lost and found again has several tracks: the later ones are duplicates of the first.

Only tracks of one bag are compared, so bags can be harvested apart and the results are those of all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2a_core.harvest.records import ObjectRecord

MAX_GAP_S = 3.0
"""Seconds between two tracks of one object in one camera."""

MIN_SIMILARITY, MIN_OF_BLOCKS = 0.85, 0.89
"""Cosine between the embeddings of two tracks of one object, of one block and of several: with several, other objects
are more alike, too."""

MAX_DISTANCE_M = 3.0
"""Metres between their places, where both are known in a frame that stands still."""

MOVING_FRAMES = ("base_link", "base_footprint")
"""Frames that go along with the vehicle: places in them say nothing about another time."""


def find_duplicates(records: Sequence[ObjectRecord]) -> dict[str, str]:
    """Tracks that show an object that an earlier track of the same bag and camera shows.

    Two tracks can be one object where the later one begins after the earlier one ended, at most ``MAX_GAP_S`` later,
    and they look alike; of several earlier ones the most alike is taken, and each goes on in one later track at most.

    Args:
        records: of one bag, in any order.

    Returns:
        Id of each duplicate -> id of the first track of its object.
    """
    cameras: dict[str, list[ObjectRecord]] = {}
    for record in records:
        cameras.setdefault(record.camera, []).append(record)
    found: dict[str, str] = {}
    for tracks in cameras.values():
        tracks.sort(key=lambda record: (record.first_stamp_ns, record.id))
        open_ends: list[ObjectRecord] = []
        for track in tracks:
            # What ended long ago can be taken up by no later track either.
            open_ends = [end for end in open_ends if track.first_stamp_ns - end.last_stamp_ns <= 1e9 * MAX_GAP_S]
            before = [(float(end.embedding @ track.embedding), end) for end in open_ends if _can_follow(end, track)]
            best = max(before, key=lambda pair: (pair[0], pair[1].id), default=None)
            if best is not None and best[0] >= (MIN_OF_BLOCKS if len(track.blocks) > 1 else MIN_SIMILARITY):
                found[track.id] = found.get(best[1].id, best[1].id)
                open_ends.remove(best[1])
            open_ends.append(track)
    return found


def _can_follow(earlier: ObjectRecord, later: ObjectRecord) -> bool:
    if later.first_stamp_ns <= earlier.last_stamp_ns:
        return False
    if None in (earlier.x, later.x) or earlier.frame_id != later.frame_id or later.frame_id in MOVING_FRAMES:
        return True
    a, b = (np.array([r.x, r.y], np.float64) for r in (earlier, later))
    return bool(np.linalg.norm(a - b) <= MAX_DISTANCE_M)
