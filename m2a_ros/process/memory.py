"""The resident memory of a process over time (Linux)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

_PERIOD_S = 0.25


class MemoryWatch:
    """Samples a process's resident memory; the slope is a least-squares line through the second half of the samples.

    Attributes:
        samples: seconds (of a clock of their own) and MiB.
    """

    def __init__(self, pid: int) -> None:
        """Watch the process ``pid``."""
        self._statm = Path(f"/proc/{pid}/statm")
        self.samples: list[tuple[float, float]] = []

    def sample(self) -> None:
        """Take a sample if the last one is old enough and the system tells."""
        now = time.monotonic()
        if self.samples and now - self.samples[-1][0] < _PERIOD_S:
            return
        if self._statm.is_file():
            pages = int(self._statm.read_text(encoding="ascii").split()[1])
            self.samples.append((now, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    def summary(self) -> dict[str, float | int | None]:
        """First, last and largest value in MiB, and the slope in MiB an hour; None where there are too few samples."""
        half = np.array(self.samples[len(self.samples) // 2 :]).reshape(-1, 2)
        slope = float(np.polyfit(half[:, 0] - half[0, 0], half[:, 1], 1)[0]) * 3600 if len(half) > 2 else None
        values = [value for _, value in self.samples]
        return {
            "samples": len(values),
            "first_mib": round(values[0], 1) if values else None,
            "last_mib": round(values[-1], 1) if values else None,
            "max_mib": round(max(values), 1) if values else None,
            "slope_mib_per_hour": None if slope is None else round(slope, 1),
        }
