"""Names of the scores that can decide what is unknown; ``m2a_core.openset.decision`` has the equations."""

from __future__ import annotations

from enum import Enum


class Decision(str, Enum):
    """Which score decides.

    ``anomaly``: f (Eq. 7) and f^r (Eq. 15), as the paper prints them. ``background``: B (Eq. 17), halved where R_M of
    Eq. 15 is 0.
    """

    ANOMALY = "anomaly"
    BACKGROUND = "background"
