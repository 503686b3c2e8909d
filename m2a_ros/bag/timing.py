"""How regular a camera's images are, and what is odd about their headers; all are read, none is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.cdr_header import header_of
from m2a_ros.bag.reader import Bag

_JUMP_S = 1.0
_GAP = 3.0
_PAUSE, _PAUSE_NS = 10, 5_000_000_000
_SHOWN = 4
_WORDS = {
    "going_back": "stamps go back in time",
    "repeated": "stamps occur more than once",
    "gaps": f"steps of more than {_GAP:g} times the usual one: images are missing",
    "jumps": f"jumps of more than {_JUMP_S:g} s between the stamps and the recorder's clock",
}


@dataclass(frozen=True)
class Timing:
    """Times and headers of a camera's images.

    Attributes:
        rate_hz: images a second between the camera's first and last image, without pauses; 0 where there are not two.
        odd: how often stamps go back, repeat, leave gaps, or jump against the recorder's clock.
        zero_stamps: stamps that are zero; the time of recording stands in for them.
        frame_ids: the images' frames, sorted.
        publishers: how many publishers the topic had when its recording began, as far as the bag tells.
    """

    rate_hz: float
    odd: Mapping[str, int]
    zero_stamps: int
    frame_ids: tuple[str, ...]
    publishers: int

    def sentences(self) -> list[str]:
        """What there is to say of it."""
        said = [f"{self.odd[key]} {text}" for key, text in _WORDS.items() if self.odd[key]]
        if self.zero_stamps:
            said.append(f"{self.zero_stamps} stamps are zero: the time of recording stands in for them")
        if len(self.frame_ids) > 1:
            shown = ", ".join(repr(name) for name in self.frame_ids[:_SHOWN])
            more = ", ..." if len(self.frame_ids) > _SHOWN else ""
            said.append(f"images of {len(self.frame_ids)} frames ({shown}{more}) are on this one topic")
        if self.publishers > 1:
            said.append(f"{self.publishers} publishers sent on it: their images are evaluated as one camera's")
        return said


def read_timing(bag: Bag, topic: CameraTopic) -> Timing:
    """Look through a camera's images.

    Raises:
        DataError: the bag is damaged or cut short.
    """
    stamps, recorded = [], []
    frame_ids: set[str] = set()
    zero = 0
    for _, time, data in bag.messages(list(topic.connections)):
        header = header_of(data)
        if header is not None:
            stamp, frame_id = header
            zero += stamp == 0
            stamps.append(stamp or time)
            recorded.append(time)
            frame_ids.add(frame_id)
    return Timing(
        # Recorders without a clock write zeros.
        _rate(recorded) or _rate(stamps),
        _odd(stamps, recorded),
        zero,
        tuple(sorted(frame_ids)),
        max((_publishers(topic, kind) for kind in topic.types), default=0),
    )


def _rate(times: Sequence[int]) -> float:
    """Images a second while they came: pauses and jumps of the clock do not count."""
    steps = [after - before for before, after in pairwise(sorted(times))]
    forward = [step for step in steps if step > 0]
    longest = max(_PAUSE_NS, _PAUSE * median(forward)) if forward else 0
    kept = [step for step in steps if step <= longest]
    return 1e9 * len(kept) / sum(kept) if any(kept) else 0.0


def _odd(stamps: Sequence[int], recorded: Sequence[int]) -> dict[str, int]:
    steps = [after - before for before, after in pairwise(stamps)]
    forward = [step for step in steps if step > 0]
    usual = median(forward) if forward else 0
    offsets = [time - stamp for time, stamp in zip(recorded, stamps, strict=True)]
    return {
        "going_back": sum(step < 0 for step in steps),
        "repeated": len(stamps) - len(set(stamps)),
        "gaps": sum(step > _GAP * usual for step in forward),
        "jumps": sum(abs(after - before) > _JUMP_S * 1e9 for before, after in pairwise(offsets)),
    }


def _publishers(topic: CameraTopic, kind: str) -> int:
    """One offered quality of service for each; nothing tells how many where there is none."""
    extensions: list[Any] = [c.ext for c in topic.connections if c.msgcount and c.msgtype == kind]
    return sum(max(1, len(extension.offered_qos_profiles)) for extension in extensions)
