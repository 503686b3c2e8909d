"""Lets at most so many frames a second through, without beating against the camera's own rate."""

from __future__ import annotations

_TOLERANCE = 0.1


class RateLimiter:
    """Accepts frames on a schedule; a frame up to a tenth of a period early counts as in time."""

    def __init__(self) -> None:
        """Accept the first frame."""
        self._due = self._passed = float("-inf")

    def accepts(self, now: float, rate: float) -> bool:
        """Whether a frame that came at ``now`` (seconds, monotonic) may pass at ``rate`` frames a second; 0: always."""
        if rate <= 0:
            return True
        period = 1 / rate
        # A rate that was raised holds at once: no frame is due later than its own period after the last one.
        due = min(self._due, self._passed + (1 + _TOLERANCE) * period)
        if now < due - _TOLERANCE * period:
            return False
        self._due, self._passed = max(due + period, now + (1 - _TOLERANCE) * period), now
        return True
