"""The report of a replay: one HTML file, no script or picture from anywhere else."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from m2a_ros.review import charts
from m2a_ros.review.clips import Shot
from m2a_ros.review.events import Event
from m2a_ros.review.look import cards, notice, page, percent, table
from m2a_ros.review.measured_page import measured
from m2a_ros.review.places import Place
from m2a_ros.review.timeline import event_title, seconds, timelines
from m2a_ros.review.truth_page import objects_table, scores_table, thresholds_table, truth_table

MAX_FILM_BYTES = 24_000_000
"""Films beyond this sum are named, not embedded: mail and browsers balk at larger pages."""

_PEAK_LEAD = "How many images a second {} bears in the node on this machine."
_STAGES = ("decode", "preprocess", "network", "heads")

Records = Mapping[str, Sequence[Mapping[str, Any]]]


def render(
    summary: Mapping[str, Any],
    records: Records,
    problems: Sequence[Mapping[str, Any]],
    events: Sequence[Event],
    shots: Sequence[Shot],
    places: Sequence[Place],
) -> str:
    """Put a replay into a page.

    Args:
        summary: contents of ``summary.json``.
        records: bag -> lines of ``frames.jsonl``.
        problems: lines of ``problems.jsonl``.
        events: stretches with unknown objects.
        shots: pictures and films, named ``event_N`` by the event's number from 1, or ``worst_N``.
        places: the maps.
    """
    truth = summary.get("truth")
    clock = {bag: seconds(frames) for bag, frames in records.items()}
    names = [bag["name"] for bag in summary["bags"]]
    title = f"Replay of {names[0]}" if len(names) == 1 else f"Replay of {len(names)} bags"
    # Mode peak sends images to see whether answers come, and keeps none of them.
    keeps_answers = summary["mode"] != "peak"
    text = _lead(summary, events) if keeps_answers else _PEAK_LEAD.format(summary["model"]["name"])
    lead = f'<p class="lead">{escape(text)}</p>{_cards(summary, records, events) if keeps_answers else ""}'
    pictures = {shot.moment.name: shot for shot in shots}
    sections = [
        ("attention", "What was left out", notice(_left_out(summary))),
        ("timeline", "Timeline", timelines(records, clock, events, truth)),
        ("events", "Events", _events(events, clock, pictures) if keeps_answers else ""),
        ("map", "Map", _maps(places)),
        ("truth", "Against ground truth", truth_table(truth)),
        ("worst", "Worst moments", _worst(shots, clock)),
        ("objects", "Objects", objects_table(truth)),
        ("thresholds", "Thresholds", thresholds_table(truth)),
        ("scores", "Anomaly scores side by side", scores_table(truth)),
        ("mode", f"Measured in mode {summary['mode']}", measured(summary)),
        ("latency", "Latency", _latency(records)),
        ("problems", "Images that were not evaluated", _problems(problems)),
        ("provenance", "Provenance", _provenance(summary)),
    ]
    return page(title, lead, sections, _dialogs(events, shots, clock))


def _lead(summary: Mapping[str, Any], events: Sequence[Event]) -> str:
    done, all_ = (sum(bag[key] for bag in summary["bags"]) for key in ("evaluated", "messages"))
    found = f"{len(events)} stretches with unknown objects" if len(events) != 1 else "1 stretch with unknown objects"
    return f"{done} of {all_} images evaluated by {summary['model']['name']}, mode {summary['mode']}; {found}."


def _cards(summary: Mapping[str, Any], records: Records, events: Sequence[Event]) -> str:
    frames = [frame for of in records.values() for frame in of]
    with_unknown = sum(frame["unknown_instances"] > 0 for frame in frames)
    network = summary.get("latencies_ms", {}).get("network")
    entries = [
        ("Frames", str(len(frames)), "evaluated"),
        ("With unknown objects", percent(with_unknown / len(frames) if frames else None), f"{with_unknown} frames"),
        ("Events", str(len(events)), "stretches of frames"),
    ]
    if network:
        entries.append(("Network", f"{network['p50']:.1f} ms", f"p99 {network['p99']:.1f} ms"))
    truth = summary.get("truth")
    if truth:
        overall = truth["overall"]
        entries += [
            ("AuPRC", percent(overall["auprc"]), "higher is better"),
            ("FPR95", percent(overall["fpr95"]), "lower is better"),
            ("F1*", percent(overall["f1_star"]), "components"),
        ]
        if truth["objects"]:
            hit = sum(found["delay_frames"] is not None for found in truth["objects"])
            entries.append(("Objects found", f"{hit} of {len(truth['objects'])}", "at least once"))
    return cards(entries)


def _left_out(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for bag in summary["bags"]:
        lines += [f"{bag['name']}: {n} images not evaluated ({why})" for why, n in bag["not_evaluated"].items()]
        for name, camera in bag["cameras"].items():
            if camera.get("stamps_going_back"):
                lines.append(f"{bag['name']}, {name}: {camera['stamps_going_back']} stamps go back in time")
            if camera.get("stamps_repeated"):
                lines.append(f"{bag['name']}, {name}: {camera['stamps_repeated']} stamps are there more than once")
    lines += [f"bag {bag['path']} is in no figure: {bag['error']}" for bag in summary.get("failed_bags", [])]
    truth = summary.get("truth")
    if truth:
        for key, what in (("masks_without_frame", "match no frame's stamp"), ("failed", "could not be scored")):
            if truth[key]["count"]:
                lines.append(f"ground truth: {truth[key]['count']} {what}, such as {truth[key]['first'][0]}")
        if truth["frames_without_truth"]:
            lines.append(f"ground truth: {truth['frames_without_truth']} frames have none and are in no figure of it")
    return lines


def _events(events: Sequence[Event], clock: Mapping[str, Any], pictures: Mapping[str, Shot]) -> str:
    if not events:
        return '<p class="panel">No unknown object in any recorded frame.</p>'
    items, rows = [], []
    for number, event in enumerate(events, start=1):
        shot = pictures.get(f"event_{number}")
        title = event_title(number, event, clock[event.bag])
        if shot:
            more = "Open the clip" if shot.film else "Open the picture"
            items.append(
                f'<li><a class="shot" href="#event_{number}">{_picture(shot, "")}<span><b>{escape(title)}</b>'
                f"{more}</span></a></li>"
            )
        else:
            name = f'<span id="event_{number}">{number}</span>'
            rows.append((name, escape(event.bag), escape(event.camera), str(event.frames), str(event.most)))
    rest = table("Events without pictures", ("Event", "Bag", "Camera", "Frames", "Most objects"), rows)
    return f'<ul class="shots">{"".join(items)}</ul>{rest}'


def _worst(shots: Sequence[Shot], clock: Mapping[str, Any]) -> str:
    worst = [shot for shot in shots if shot.moment.name.startswith("worst")]
    if not worst:
        return ""
    items = []
    for shot in sorted(worst, key=lambda s: s.moment.name):
        name = shot.moment.name
        items.append(
            f'<li><a class="shot" href="#{name}">{_picture(shot, "")}<span><b>{escape(_when(shot, clock))}</b>'
            "Truth in cyan</span></a></li>"
        )
    return (
        "<p>Frames with the most pixels on the wrong side of the model's threshold, some seconds apart.</p>"
        f'<ul class="shots">{"".join(items)}</ul>'
    )


def _when(shot: Shot, clock: Mapping[str, Any]) -> str:
    moment = shot.moment
    return f"{moment.bag}, {moment.camera}, {clock[moment.bag][moment.camera, moment.stamp_ns]:.1f} s"


def _picture(shot: Shot, alt: str) -> str:
    data = base64.b64encode(shot.picture).decode()
    return f'<img loading="lazy" alt="{escape(alt)}" src="data:image/jpeg;base64,{data}">'


def _dialogs(events: Sequence[Event], shots: Sequence[Shot], clock: Mapping[str, Any]) -> str:
    parts, room = [], MAX_FILM_BYTES
    for shot in shots:
        moment = shot.moment
        kind, _, number = moment.name.partition("_")
        heading = f"Worst moment {number}"
        if kind == "event":
            heading = event_title(int(number), events[int(number) - 1], clock[moment.bag])
        size = shot.film.stat().st_size if shot.film else 0
        if shot.film and size <= room:
            room -= size
            data = base64.b64encode(shot.film.read_bytes()).decode()
            body = (
                f'<video controls loop muted playsinline preload="metadata" aria-label="{escape(heading)}" '
                f'src="data:video/webm;base64,{data}"></video>'
            )
        else:
            body = _picture(shot, heading)
        where = f" Clip: <code>{escape(_relative(shot.film))}</code>" if shot.film else ""
        parts.append(
            f'<dialog id="{moment.name}" aria-labelledby="{moment.name}_title"><header><h3 id="{moment.name}_title">'
            f'{escape(heading)}</h3><button type="button">Close</button></header>{body}'
            f"<p>{escape(_when(shot, clock))}; stamp <code>{moment.stamp_ns}</code>.{where}</p></dialog>"
        )
    return "".join(parts)


def _relative(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _maps(places: Sequence[Place]) -> str:
    parts = []
    for place in places:
        if place.track is None:
            continue
        cars = [(s.name, *s.car) for s in place.sightings if not s.unknown]
        unknown = [(s.name, *xy) for s in place.sightings for xy in s.unknown]
        note = f" Objects are not placed ({place.note})." if place.note else ""
        parts.append(
            f'<figure class="panel"><figcaption>{escape(place.bag)}: {place.track.kind} on '
            f"<code>{escape(place.track.topic)}</code>. Orange: unknown objects on the ground; blue: the car where the "
            f"object could not be placed.{escape(note)}</figcaption>"
            f"{charts.ground_map(f'Track of {place.bag}', place.track.xy, cars, unknown, place.track.kind == 'gnss')}"
            "</figure>"
        )
    return "".join(parts)


def _latency(records: Records) -> str:
    stages: dict[str, list[float]] = {}
    for frames in records.values():
        for frame in frames:
            for stage, value in frame["latencies_ms"].items():
                stages.setdefault(stage, []).append(value)
    if not stages:
        return ""
    charts_ = []
    shown = [name for name in stages if name not in _STAGES] + [name for name in _STAGES if name in stages]
    for name in shown:
        values = np.array(stages[name])
        marks = [(f"p{p}", float(np.percentile(values, p))) for p in (50, 95, 99)]
        charts_.append(
            f'<figure class="panel"><figcaption>{escape(name)}</figcaption>'
            f"{charts.histogram(f'Latency of {name}', values, 'milliseconds', marks)}</figure>"
        )
    return f'<div class="two">{"".join(charts_)}</div>'


def _problems(problems: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter((problem["topic"], problem["reason"]) for problem in problems)
    texts = {(problem["topic"], problem["reason"]): problem["text"] for problem in reversed(problems)}
    rows = [(f"<code>{escape(t)}</code>", escape(r), str(n), escape(texts[t, r])) for (t, r), n in counts.most_common()]
    return table("By topic and reason; all are in problems.jsonl", ("Topic", "Reason", "Images", "The first"), rows)


def _provenance(summary: Mapping[str, Any]) -> str:
    rows = [(escape(f"bag {bag['name']}"), f"{escape(bag['path'])}<br><code>SHA-256 {bag['sha256']}</code>")
            for bag in summary["bags"]]  # fmt: skip
    hidden = {"bags", "failed_bags", "truth", "latencies_ms", "format"}
    for key, value in summary.items():
        if key not in hidden:
            rows.append((escape(key.replace("_", " ")), _value(value)))
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<div class="panel scroll"><table class="wrap"><caption>What the figures depend on</caption><tbody>{body}</tbody></table></div>'  # noqa: E501


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(str(k))}: <code>{escape(str(v))}</code>" for k, v in value.items())
    return f"<code>{escape(', '.join(map(str, value)) if isinstance(value, list) else str(value))}</code>"
