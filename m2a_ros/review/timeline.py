"""The report's time lines: when unknown objects were published, and when true ones were there to be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from m2a_ros.review import charts
from m2a_ros.review.events import Event

_LONGEST_STEP_S = 5.0
_MAX_OBJECT_LANES = 10


def seconds(frames: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], float]:
    """(camera, stamp) -> seconds on the bag's time line; steps back and gaps are cut short so that all is visible."""
    first = frames[0]["stamp_ns"] if frames else 0
    at: dict[tuple[str, int], float] = {}
    streams: dict[str, list[int]] = {}
    for frame in frames:
        streams.setdefault(frame["camera"], []).append(frame["stamp_ns"])
    for camera, stamps in streams.items():
        now = min(max(0.0, (stamps[0] - first) / 1e9), _LONGEST_STEP_S)
        at[camera, stamps[0]] = now
        for before, after in pairwise(stamps):
            now += min(max(0.0, (after - before) / 1e9), _LONGEST_STEP_S)
            at.setdefault((camera, after), now)
    return at


def timelines(
    records: Mapping[str, Sequence[Mapping[str, Any]]], clock: Mapping[str, Mapping[tuple[str, int], float]],
    events: Sequence[Event], truth: Mapping[str, Any] | None,
) -> str:  # fmt: skip
    """A line for each camera with its events, and for each true object, bag by bag; see ``page.render``."""
    parts = []
    for bag, frames in records.items():
        if not frames:
            continue
        at = clock[bag]
        lanes: list[tuple[str, list[charts.Bar]]] = []
        for camera in dict.fromkeys(frame["camera"] for frame in frames):
            bars = [
                _event_bar(number, event, at)
                for number, event in enumerate(events, start=1)
                if (event.bag, event.camera) == (bag, camera)
            ]
            lanes.append((camera, bars))
        objects = [found for found in (truth or {}).get("objects", []) if found["bag"] == bag]
        for found in objects[:_MAX_OBJECT_LANES]:
            lanes.append((f"object {found['object']}", _object_bars(found, at)))
        end = max(at.values())
        hidden = len(objects) - _MAX_OBJECT_LANES
        note = "Orange: unknown objects published; each opens its pictures."
        if objects:
            note += " Grey: a true object is visible; green: from its first detection on."
        note += f" {hidden} more objects are in the table." if hidden > 0 else ""
        parts.append(
            f'<figure class="panel"><figcaption>{escape(bag)}. {note}</figcaption>'
            f"{charts.timeline(f'Events of {bag} over {end:.1f} seconds', end, lanes)}</figure>"
        )
    return "".join(parts)


def _event_bar(number: int, event: Event, at: Mapping[tuple[str, int], float]) -> charts.Bar:
    start, end = (at[event.camera, stamp] for stamp in (event.start_ns, event.end_ns))
    return charts.Bar(start, end, "event", event_title(number, event, at), f"event_{number}")


def _object_bars(found: Mapping[str, Any], at: Mapping[tuple[str, int], float]) -> list[charts.Bar]:
    start, end, hit = (
        at.get((found["camera"], found[key] or 0))
        for key in ("first_visible_stamp_ns", "last_visible_stamp_ns", "first_found_stamp_ns")
    )
    if start is None or end is None:
        return []
    name = f"object {found['object']}"
    bars = [charts.Bar(start, end, "seen", f"{name}: visible for {end - start:.1f} s")]
    if hit is not None:
        bars.append(charts.Bar(hit, end, "found", f"{name}: found after {hit - start:.2f} s"))
    return bars


def event_title(number: int, event: Event, at: Mapping[tuple[str, int], float]) -> str:
    """An event in words."""
    start = at[event.camera, event.start_ns]
    objects = "1 object" if event.most == 1 else f"up to {event.most} objects"
    return f"Event {number}: {event.camera}, {start:.1f} s, {event.frames} frames, {objects}"
