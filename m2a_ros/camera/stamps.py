"""Stamps that a consumer cannot rely on: told by reason, so that the driver or the clock gets repaired."""

from __future__ import annotations

from typing import Any

ZERO, NEGATIVE, JUMPED_BACK, IN_FUTURE, TOO_OLD = "zero", "negative", "jumped_back", "in_future", "too_old"
_SECOND_NS = 1_000_000_000
_FUTURE_NS = _SECOND_NS
_OLD_NS = 60 * _SECOND_NS
"""No camera, network or queue holds a frame back for that long: its stamp is of another clock."""


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces/Time``; seconds are signed, and ``rclpy.time.Time`` fails below zero."""
    return int(stamp.sec) * _SECOND_NS + int(stamp.nanosec)


class StampCheck:
    """Judges the stamps of one camera's frames in the order of their arrival."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._last_ns = 0

    def judge(self, stamp_ns: int, now_ns: int) -> str | None:
        """What is wrong with a stamp.

        Args:
            stamp_ns: of the frame, nanoseconds.
            now_ns: the node's clock, nanoseconds; 0 while it waits for simulated time.

        Returns:
            ``zero`` (the driver stamps nothing), ``negative`` (before 1970), ``jumped_back`` (before the frame that
            came last: a bag that starts over, a clock that was set), ``in_future`` (more than a second ahead: the
            camera's clock is not synchronised, or only one of the two lives in simulated time), ``too_old`` (more than
            a minute behind: the time since the camera was switched on, or a bag without its clock), or None.
        """
        last_ns, self._last_ns = self._last_ns, stamp_ns
        if stamp_ns == 0:
            return ZERO
        if stamp_ns < 0:
            return NEGATIVE
        if stamp_ns < last_ns:
            return JUMPED_BACK
        if now_ns == 0 or age_ms(stamp_ns, now_ns) is not None:
            return None
        return TOO_OLD if stamp_ns < now_ns else IN_FUTURE


def age_ms(stamp_ns: int, now_ns: int) -> float | None:
    """Milliseconds from a stamp to now.

    Args:
        stamp_ns: of a frame, nanoseconds.
        now_ns: the node's clock, nanoseconds; 0 while it waits for simulated time.

    Returns:
        None where the two are not of one clock: a difference would say nothing.
    """
    if now_ns == 0 or stamp_ns <= 0 or not -_FUTURE_NS <= now_ns - stamp_ns <= _OLD_NS:
        return None
    return (now_ns - stamp_ns) / 1e6
