"""The frame rate of a camera's stamps."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import numpy as np

_FALLBACK_RATE = 10.0
_RATES = (1.0, 120.0)


def frame_rate(stamps: list[int]) -> float:
    """Frames per second of stamps in nanoseconds: after the median step forward; 10 where there is none."""
    steps = [after - before for before, after in pairwise(stamps) if after > before]
    return float(np.clip(1e9 / median(steps), *_RATES)) if steps else _FALLBACK_RATE
