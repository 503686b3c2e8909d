"""Figures of one live run: rates, latency, drops, and whether every output belongs to a frame that was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2a_ros.demo.records import ANOMALY, FRAME_ID, MARKERS, Received, Sent

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class LiveFigures:
    """What the live part came to.

    Attributes:
        sent: frames sent.
        sent_rate: frames sent per second.
        maps: anomaly maps received.
        map_rate: anomaly maps received per second, over the time from the first to the last.
        dropped: frames sent for which no anomaly map came.
        latency_ms: float64 [maps], from the camera's stamp to the map's arrival; of maps of sent frames only.
        percentiles_ms: latency by percentile; empty without maps.
        per_second: int64 [S, 2], frames sent in each second since the first, and those of them a map came for.
        outputs: messages by output.
        markers: markers in all marker arrays.
    """

    sent: int
    sent_rate: float
    maps: int
    map_rate: float
    dropped: int
    latency_ms: np.ndarray
    percentiles_ms: dict[int, float]
    per_second: np.ndarray
    outputs: dict[str, int]
    markers: int


def live_figures(sent: Sequence[Sent], received: Sequence[Received]) -> LiveFigures:
    """Compute the figures.

    Args:
        sent: frames in the order they were sent; at least one.
        received: outputs in the order they came.
    """
    stamps = np.array([s.stamp for s in sent], np.int64)
    maps = [r for r in received if r.output == ANOMALY]
    known = set(stamps.tolist())
    latency = np.array([(r.received - r.stamp) / 1e6 for r in maps if r.stamp in known], np.float64)
    answered = {r.stamp for r in maps}
    seconds = (stamps - stamps[0]) // 1_000_000_000
    has_map = np.array([s in answered for s in stamps.tolist()])
    length = int(seconds[-1]) + 1
    per_second = np.stack([np.bincount(seconds, minlength=length), np.bincount(seconds[has_map], minlength=length)], 1)
    return LiveFigures(
        sent=len(sent),
        sent_rate=_rate(stamps),
        maps=len(maps),
        map_rate=_rate(np.array([r.received for r in maps], np.int64)),
        dropped=int((~has_map).sum()),
        latency_ms=latency,
        percentiles_ms={p: float(np.percentile(latency, p)) for p in PERCENTILES} if len(latency) else {},
        per_second=per_second,
        outputs=dict(Counter(r.output for r in received)),
        markers=sum(r.items for r in received),
    )


def mismatches(sent: Sequence[Sent], received: Sequence[Received]) -> list[str]:
    """What is wrong with the outputs, one line per message.

    Image outputs must carry a sent frame's stamp and the camera's frame id, marker arrays a sent frame's stamp; no
    frame may be answered twice on a topic.

    Args:
        sent: frames sent.
        received: outputs received.
    """
    known = {s.stamp for s in sent}
    problems = []
    for (output, stamp), count in Counter(
        (r.output, r.stamp) for r in received if r.items or r.output != MARKERS
    ).items():
        if stamp not in known:
            problems.append(f"{output}: stamp {stamp} was never sent")
        elif count > 1:
            problems.append(f"{output}: stamp {stamp} came {count} times")
    for record in received:
        if record.output != MARKERS and record.frame_id != FRAME_ID:
            problems.append(f"{record.output}: frame_id '{record.frame_id}' of stamp {record.stamp}, sent '{FRAME_ID}'")
    return problems


def _rate(times: np.ndarray) -> float:
    """Events per second between the first and the last; 0 for fewer than two."""
    span = float(times[-1] - times[0]) / 1e9 if len(times) > 1 else 0.0
    return (len(times) - 1) / span if span > 0 else 0.0
