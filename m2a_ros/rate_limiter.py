"""Lets at most so many frames a second through, without beating against the camera's own rate."""

from __future__ import annotations

_TOLERANCE = 0.1


class RateLimiter:
    """Accepts frames on a schedule; a frame up to a tenth of a period early counts as in time."""

    def __init__(self) -> None:
        """Accept the first frame."""
        self._due = float("-inf")

    def accepts(self, now: float, rate: float) -> bool:
        """Whether a frame that came at ``now`` (seconds, monotonic) may pass at ``rate`` frames a second; 0: always."""
        if rate <= 0:
            return True
        period = 1 / rate
        if now < self._due - _TOLERANCE * period:
            return False
        self._due = max(self._due + period, now + (1 - _TOLERANCE) * period)
        return True
