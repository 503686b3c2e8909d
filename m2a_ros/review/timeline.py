"""The report's time lines: when unknown objects were published, and when true ones were there and found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2a_core.reporting.charts import Bar, timeline
from m2a_core.reporting.page import count
from m2a_ros.review.events import Event, Times

_MAX_OBJECT_LANES = 10


def timelines(
    names: Mapping[str, str], times: Mapping[str, Times], events: Sequence[Event], truth: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """A lane for each camera with its events, and for each true object, bag by bag.

    Args:
        names: bag -> what it is called.
        times: bag -> its time line.
        events: of all bags.
        truth: ``truth`` of ``summary.json``.

    Returns:
        For each bag ``name``, ``chart``, ``source`` of the times, ``objects`` (shown) and ``hidden`` (objects).
    """
    shown = []
    for bag, of in times.items():
        if not of.seconds:
            continue
        cameras = list(dict.fromkeys(camera for camera, _ in of.seconds))
        lanes = [(f"{camera}: unknown objects published", _event_bars(bag, camera, events, of)) for camera in cameras]
        objects = [found for found in (truth or {}).get("objects", []) if found["bag"] == bag]
        for found in objects[:_MAX_OBJECT_LANES]:
            times_found = f"found in {found['frames_found']} of {count(found['frames_visible'], 'frame')}"
            lanes.append((f"{found['camera']}, object {found['object']}: {times_found}", _object_bars(found, of)))
        title = f"Events of {names[bag]} over {of.end:.1f} seconds"
        hidden = max(0, len(objects) - _MAX_OBJECT_LANES)
        chart = timeline(title, of.end, lanes)
        shown.append(
            {"name": names[bag], "chart": chart, "source": of.source, "objects": len(objects), "hidden": hidden}
        )
    return shown


def _event_bars(bag: str, camera: str, events: Sequence[Event], times: Times) -> list[Bar]:
    bars = []
    for number, event in enumerate(events, start=1):
        if (event.bag, event.camera) == (bag, camera):
            title, link = event_title(number, event, times), f"event_{number}"
            bars.append(Bar(*_span(times, camera, event.first, event.last), "event", title, link, thin=True))
            bars += [Bar(*_span(times, camera, *run), "event", title, link) for run in event.runs]
    return bars


def _object_bars(found: Mapping[str, Any], times: Times) -> list[Bar]:
    bars = []
    for kind, key, thin in (("seen", "visible_frames", True), ("found", "found_frames", False)):
        for first, last in found[key]:
            start, end = _span(times, found["camera"], first, last)
            word = "visible" if kind == "seen" else "found"
            bars.append(
                Bar(start, end, kind, f"object {found['object']}: {word}, {start:.2f} to {end:.2f} s", "", thin)
            )
    return bars


def _span(times: Times, camera: str, first: int, last: int) -> tuple[float, float]:
    return times.seconds[camera, first], times.seconds[camera, last]


def event_title(number: int, event: Event, times: Times) -> str:
    """An event in words."""
    objects = "1 object" if event.most == 1 else f"up to {event.most} objects"
    start = times.seconds[event.camera, event.first]
    return f"Event {number}: {event.camera}, {start:.1f} s, {count(event.frames, 'frame')}, {objects}"
