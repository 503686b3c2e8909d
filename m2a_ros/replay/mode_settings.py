"""Settings that only some modes of replay need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModeSettings:
    """What only some modes need.

    Attributes:
        timeout_s: lockstep: seconds after which an image counts as lost.
        rate: realtime: pace of the bag, 1 for its own.
        trial_frames: peak: images in a trial.
        repeats: peak: how often the search is repeated.
    """

    timeout_s: float = 60.0
    rate: float = 1.0
    trial_frames: int = 60
    repeats: int = 3
