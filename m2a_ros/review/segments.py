"""Stretches of a bag that figures are given for: of equal length, or begun by marks that a test driver set."""

from __future__ import annotations

from bisect import bisect_right

from m2a_core.errors import DataError
from m2a_ros.bag.reader import Bag, decode
from m2a_ros.review.request import ReviewRequest, Source

DEFAULT_SECONDS = 10.0
_STRING = "std_msgs/msg/String"
_BEFORE = "before the first mark"


class Segments:
    """The segments of one bag, by time of recording, which never goes back."""

    def __init__(self, starts: list[int], names: list[str]) -> None:
        """Take when each segment begins, ascending in nanoseconds, and its name."""
        self._starts, self._names = starts, names

    def of(self, recorded_ns: int) -> str:
        """Name of the segment that a message was recorded in."""
        return self._names[max(0, bisect_right(self._starts, recorded_ns) - 1)]


class EqualSegments(Segments):
    """Segments of equal length from the bag's first evaluated frame on."""

    def __init__(self, seconds: float) -> None:
        """Take the length."""
        super().__init__([], [])
        self._seconds = seconds
        self._first: int | None = None

    def of(self, recorded_ns: int) -> str:
        """Name of the segment that a message was recorded in."""
        if self._first is None:
            self._first = recorded_ns
        # In whole nanoseconds: a frame on a border must not fall to either side by rounding.
        number = (recorded_ns - self._first) // round(1e9 * self._seconds)
        return f"{number * self._seconds:g} to {(number + 1) * self._seconds:g} s"


def segments_of(source: Source, request: ReviewRequest) -> Segments:
    """The segments of a bag as the options ask for them.

    Raises:
        DataError: the bag has no marks on the topic, or is damaged.
    """
    if request.segment_topic is None:
        return EqualSegments(request.segment_s or DEFAULT_SECONDS)
    starts, names = [-(2**63)], [_BEFORE]
    with Bag(source.path) as bag:
        marks = [c for c in bag.connections if c.topic == request.segment_topic and c.msgtype == _STRING]
        for number, (_, recorded, data) in enumerate(bag.messages(marks), start=1):
            starts.append(recorded)
            names.append(f"{number}: {decode(data, _STRING).data}")
    if len(starts) == 1:
        raise DataError(
            f"--segment-topic {request.segment_topic}: bag {source.path} has no {_STRING} there; marks are needed, or "
            "use --segment SECONDS"
        )
    return Segments(starts, names)
