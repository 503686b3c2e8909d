"""The report of a replay: one HTML file, no script or picture from anywhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.reporting.charts import ground_map, histogram
from m2a_core.reporting.page import count, number, overlay_legend, percent, render
from m2a_core.reporting.plot import Axis
from m2a_ros.review.clips import Shot
from m2a_ros.review.event_map import EventMap
from m2a_ros.review.events import Event, Frames, Times
from m2a_ros.review.measured import MODE_REPORTS, SETTINGS
from m2a_ros.review.timeline import event_title, timelines
from m2a_ros.review.truth_tables import truth_context

MAX_FILM_BYTES = 24_000_000
"""Films beyond this sum are named, not embedded: mail and browsers balk at larger pages."""

_STAGES = ("decode", "preprocess", "network", "heads")
_COMMON_NAMES = frozenset({"bag", "bags", "data", "out", "output", "rosbag", "rosbag2"})
_ELSEWHERE = frozenset({"bags", "failed_bags", "truth", "latencies_ms", "format"})


@dataclass(frozen=True)
class Found:
    """What a report shows besides ``summary.json``.

    Attributes:
        records: bag -> lines of ``frames.jsonl``.
        problems: lines of ``problems.jsonl``.
        times: bag -> its time line.
        events: stretches with unknown objects.
        shots: pictures and films, named ``event_N`` by the event's number from 1, or ``worst_N``.
        event_maps: the maps.
        films: what they show, and the films of whole drives.
        labels: the classes of the model.
    """

    records: Mapping[str, Frames]
    problems: Sequence[Mapping[str, Any]]
    times: Mapping[str, Times]
    events: Sequence[Event]
    shots: Sequence[Shot]
    event_maps: Sequence[EventMap]
    films: Sequence[tuple[str, Path]]
    labels: LabelSet


def render_replay(summary: Mapping[str, Any], found: Found) -> str:
    """Put a replay into a page.

    Args:
        summary: contents of ``summary.json``.
        found: the rest.
    """
    names, truth = bag_names(summary), summary.get("truth")
    title = f"Replay of {next(iter(names.values()))}" if len(names) == 1 else f"Replay of {len(names)} bags"
    pictures = {shot.moment.name: shot for shot in found.shots}
    described = [(f"event_{n}", event_title(n, e, found.times[e.bag])) for n, e in enumerate(found.events, start=1)]
    titles = dict(described) | {
        name: _when(shot, names, found.times) for name, shot in pictures.items() if name.startswith("worst")
    }
    return render(
        "m2a_ros.review",
        "replay.html",
        title=title,
        # Mode peak sends images to see whether answers come, and keeps none of them.
        keeps_answers=summary["mode"] != "peak",
        summary=summary,
        text=_lead(summary, found.events),
        cards=_cards(summary, found),
        left_out=_left_out(summary, names),
        cameras=_cameras(summary, names),
        timelines=timelines(names, found.times, found.events, truth),
        events=described,
        titles=titles,
        pictures=pictures,
        worst=[name for name in titles if name.startswith("worst")],
        embedded=_embedded([shot.film for shot in found.shots] + [path for _, path in found.films]),
        films=found.films,
        when={name: _when(shot, names, found.times) for name, shot in pictures.items()},
        legend=overlay_legend(found.labels, truth is not None),
        maps=_maps(found.event_maps, names),
        measured=_measured(summary, names),
        latencies=_latencies(found.records),
        problems=_problems(found.problems),
        provenance=_provenance(summary, names),
        **truth_context(truth, names),
    )


def bag_names(summary: Mapping[str, Any]) -> dict[str, str]:
    """Bag -> what a person calls it: of a bag that is just called "bag", its folder's name, too."""
    return {
        bag["name"]: "/".join(PurePath(bag["path"]).parts[-2:]) if bag["name"] in _COMMON_NAMES else bag["name"]
        for bag in summary["bags"]
    }


def _lead(summary: Mapping[str, Any], events: Sequence[Event]) -> str:
    if summary["mode"] == "peak":
        return f"The highest image rate that the node sustains with {summary['model']['name']} on this machine."
    done, all_ = (sum(bag[key] for bag in summary["bags"]) for key in ("evaluated", "messages"))
    return (
        f"{done} of {count(all_, 'image')} evaluated by {summary['model']['name']}, mode {summary['mode']}; "
        f"{count(len(events), 'period')} with unknown objects."
    )


def _cards(summary: Mapping[str, Any], found: Found) -> list[tuple[str, str, str]]:
    frames = [frame for of in found.records.values() for frame in of]
    with_unknown = sum(frame["unknown_instances"] > 0 for frame in frames)
    entries = [
        ("Frames", str(len(frames)), "evaluated"),
        ("With unknown objects", percent(with_unknown / len(frames) if frames else None), count(with_unknown, "frame")),
        ("Events", str(len(found.events)), "periods with unknown objects"),
    ]
    for stage, name in (("network", "Network"), ("latency", "Latency"), ("round_trip", "Round trip")):
        if of := summary.get("latencies_ms", {}).get(stage):
            entries.append((name, f"{of['p50']:.1f} ms", f"p99 {of['p99']:.1f} ms"))
    if truth := summary.get("truth"):
        overall, own = truth["overall"], truth["model_threshold"]
        at_own = next((row["f1_star"] for row in truth["thresholds"] if row["threshold"] == own), None)
        entries += [
            ("AuPRC", percent(overall["auprc"]), "pixels, higher is better"),
            ("FPR95", percent(overall["fpr95"]), "pixels, lower is better"),
            (
                "F1* at best",
                percent(overall["f1_star"]),
                f"objects at the best threshold, {number(overall['threshold'])}",
            ),
            ("F1* as set", percent(at_own), f"objects at the model's own threshold, {number(own)}"),
        ]
        if truth["objects"]:
            hit = sum(one["frames_found"] > 0 for one in truth["objects"])
            half = sum(one["recall"] >= 0.5 for one in truth["objects"])
            of = len(truth["objects"])
            entries.append(("Objects found", f"{hit} of {of}", f"at least once; {half} in half of their frames"))
    return entries


def _left_out(summary: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    lines = []
    for bag in summary["bags"]:
        name = names[bag["name"]]
        lines += [f"{name}: {count(n, 'image')} not evaluated ({why})" for why, n in bag["not_evaluated"].items()]
        for camera, of in bag["cameras"].items():
            for key, what in (("stamps_going_back", "back in time"), ("stamps_repeated", "more than once")):
                if of.get(key):
                    lines.append(f"{name}, camera {camera}: {count(of[key], 'stamp')} {what}")
    lines += [f"Bag {bag['path']} is in no figure: {bag['error']}" for bag in summary.get("failed_bags", [])]
    if truth := summary.get("truth"):
        for key, what in (("masks_without_frame", "without an evaluated frame"), ("failed", "not scored")):
            if truth[key]["count"]:
                lines.append(
                    f"Ground truth: {count(truth[key]['count'], 'mask')} {what}, such as {truth[key]['first'][0]}"
                )
        if truth["frames_without_truth"]:
            lines.append(
                f"Ground truth: {count(truth['frames_without_truth'], 'frame')} without any, in no figure of it"
            )
    return lines


def _cameras(summary: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for bag in summary["bags"]:
        topics = {camera: topic for topic, camera in bag.get("topics", {}).items()}
        rows += [
            (
                f"{names[bag['name']]}, {camera}",
                topics.get(camera, ""),
                str(of["frames"]),
                ", ".join(of["sizes"]),
                str(of["frames_with_unknown_instances"]),
                str(of["unknown_instances"]),
            )
            for camera, of in bag["cameras"].items()
        ]
    return rows


def _when(shot: Shot, names: Mapping[str, str], times: Mapping[str, Times]) -> str:
    moment = shot.moment
    return f"{names[moment.bag]}, {moment.camera}, {times[moment.bag].seconds[moment.camera, moment.number]:.1f} s"


def _embedded(films: Sequence[Path | None]) -> set[Path]:
    """The films that the page has room for."""
    room, chosen = MAX_FILM_BYTES, set()
    for film in films:
        size = room + 1 if film is None else film.stat().st_size
        if film is not None and size <= room:
            room -= size
            chosen.add(film)
    return chosen


def _maps(event_maps: Sequence[EventMap], names: Mapping[str, str]) -> list[dict[str, Any]]:
    shown = []
    for event_map in event_maps:
        if event_map.track is None:
            continue
        named = [(s.name, s.name.replace("_", " "), s) for s in event_map.locations]
        cars = [
            (anchor, f"{text}: the car, its object not placed", *s.car) for anchor, text, s in named if not s.unknown
        ]
        unknown = [(anchor, f"{text}: unknown object", *xy) for anchor, text, s in named for xy in s.unknown]
        name, track = names[event_map.bag], event_map.track
        chart = ground_map(f"Track of {name}", track.xy, cars, unknown, track.kind == "gnss")
        shown.append(
            {
                "name": name,
                "kind": track.kind,
                "topic": track.topic,
                "note": event_map.note,
                "chart": chart,
                "cars": len(cars),
                "unknown": len(unknown),
            }
        )
    return shown


def _measured(summary: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any] | None:
    """What modes realtime and peak measure: lines, and of mode peak each trial of each search."""
    mode = summary["mode"]
    if mode not in MODE_REPORTS:
        return None
    lines = [f"{names[bag['name']]}: {line}" for bag in summary["bags"] for line in MODE_REPORTS[mode](bag[mode])]
    trials = [
        (names[bag["name"]], bag["peak"]["max_loss"], _trials(bag["peak"])) for bag in summary["bags"] if mode == "peak"
    ]
    return {"lines": lines, "trials": trials}


def _trials(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for search, found in enumerate(figures["repeats"], start=1):
        for trial in sorted(found["trials"], key=lambda trial: trial["reached_hz"]):
            latency = trial["latency_ms"] or {}
            rows.append(
                (
                    str(search),
                    number(trial["reached_hz"], 2),
                    f"{trial['answered']} of {trial['sent']}",
                    percent(trial["loss"]),
                    number(latency.get("p50"), 1),
                    number(latency.get("p99"), 1),
                )
            )
    return rows


def _latencies(records: Mapping[str, Frames]) -> dict[str, Any]:
    stages: dict[str, list[float]] = {}
    for frame in (frame for frames in records.values() for frame in frames):
        for stage, value in frame["latencies_ms"].items():
            stages.setdefault(stage, []).append(value)
    shown = [name for name in stages if name not in _STAGES] + [name for name in _STAGES if name in stages]
    charts = []
    for name in shown:
        values = np.array(stages[name])
        marks = [(f"p{p} {v:.1f} ms", v) for p, v in ((p, float(np.percentile(values, p))) for p in (50, 95, 99))]
        charts.append(histogram(name.replace("_", " "), values, Axis("milliseconds", 0.0), marks))
    cameras = dict.fromkeys(frame["camera"] for frames in records.values() for frame in frames)
    return {"charts": charts, "cameras": ", ".join(cameras)}


def _problems(problems: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    counts = Counter((problem["topic"], problem["reason"]) for problem in problems)
    texts = {(problem["topic"], problem["reason"]): problem["text"] for problem in reversed(problems)}
    return [(topic, reason, str(n), texts[topic, reason]) for (topic, reason), n in counts.most_common()]


def _provenance(summary: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the figures depend on; what was not asked for is left out."""
    rows = [
        (f"bag: {names[bag['name']]}", f"{bag['path']}, SHA-256 {bag['sha256'] or 'not taken of a remote bag'}")
        for bag in summary["bags"]
    ]
    asked = {key: summary["settings"][key] for key in SETTINGS[summary["mode"]]}
    for key, value in {**summary, "settings": asked}.items():
        if key not in _ELSEWHERE and value not in (None, "", [], {}):
            rows.append((key.replace("_", " "), _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(of)}" for key, of in value.items() if of is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
