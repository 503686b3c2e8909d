"""A review: ground truth first, then events and worst moments, then the report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from m2a_core.files import read_json_lines, write_text
from m2a_core.labels.label_set import LabelSet
from m2a_core.perception import Perception
from m2a_ros.bag.calibration import parse_mountings
from m2a_ros.review.clips import Moment, Shot, shoot, write_films
from m2a_ros.review.evaluation import FRAMES_FILE, evaluate_replay
from m2a_ros.review.event_map import EventMap, map_events
from m2a_ros.review.events import Event, find_events, stamps_tell, times_of
from m2a_ros.review.layout import FRAMES, OUTPUT_BAG, PROBLEMS, film_path
from m2a_ros.review.page import Found, render_replay
from m2a_ros.review.request import ReviewRequest, Source
from m2a_ros.review.results import with_recorded
from m2a_ros.review.score_table import compare_scores
from m2a_ros.review.truth import GroundTruth

REPORT = "report.html"
EVENT_FILMS, EVENT_PICTURES, WORST = 8, 60, 6
_APART_NS = 3_000_000_000


class Review:
    """What follows a replay, whatever its mode: it needs ``frames.jsonl`` and the output bags alone."""

    def __init__(self, request: ReviewRequest, sources: Sequence[Source], work: Path) -> None:
        """Check the options against the bags, before hours of inference.

        Args:
            request: the options.
            sources: the bags.
            work: folder for temporary files.

        Raises:
            ConfigError: options do not fit the bags.
            DataError: there is no ground truth where the options say, or a bag is damaged.
        """
        self._request, self._sources = request, sources
        self._truth = GroundTruth(request, sources, work) if request.has_truth else None

    def score(self, out: Path, threshold: float) -> dict[str, Any] | None:
        """Score the results in ``out`` against the ground truth; None without any.

        Args:
            out: the output folder.
            threshold: the model's anomaly threshold.

        Raises:
            DataError: a bag is damaged.
            OSError: a file cannot be written.
        """
        if self._truth is None:
            return None
        self._truth.open(self._sources)
        origin = (
            {"folder": str(self._request.truth)}
            if self._request.truth
            else {"topics": list(self._request.truth_topics)}
        )
        return {**origin, **evaluate_replay(out, self._sources, self._request, self._truth, threshold)}

    def compare_scores(self, out: Path, perception: Perception) -> dict[str, Any]:
        """Pixel figures of every score of ``--scores``, by name; after ``score``.

        Args:
            out: the output folder.
            perception: the model.

        Raises:
            DataError: a bag is damaged.
        """
        assert self._truth is not None
        keys = ("bag", "camera", "recorded_ns", "stamp_ns")
        scored: set[Any] = {tuple(frame[key] for key in keys) for frame in read_json_lines(out / FRAMES_FILE)}
        return compare_scores(self._sources, scored, self._truth, perception, self._request.scores)

    def keep(self, names: Collection[str]) -> None:
        """Go on with these bags only: the others could not be evaluated."""
        self._sources = [source for source in self._sources if source.name in names]

    def report(self, out: Path, summary: Mapping[str, Any], labels: LabelSet) -> None:
        """Write the films and ``report.html``.

        Args:
            out: the output folder, with ``frames.jsonl``.
            summary: contents of ``summary.json``.
            labels: the classes of the model.

        Raises:
            DataError: an output bag is damaged.
            OSError: a file cannot be written.
        """
        records = {}
        for name in (source.name for source in self._sources):
            frames = read_json_lines(out / name / FRAMES)
            records[name] = frames if stamps_tell(frames) else with_recorded(out / name / OUTPUT_BAG, frames)
        times = {bag: times_of(frames) for bag, frames in records.items()}
        events = find_events(records, times)
        worst = worst_moments(out) if self._truth is not None else []
        shots: list[Shot] = []
        event_maps: list[EventMap] = []
        mountings = parse_mountings(self._request.mountings)
        for source in self._sources:
            seen, bad = ([m for m in moments if m.bag == source.name] for moments in (_event_moments(events), worst))
            write_films(out, source, times[source.name], labels)
            shots += shoot(out, source, times[source.name], [*seen, *bad], self._truth, labels)
            event_maps.append(map_events(out, source, seen, mountings))
        films = [
            (f"{source.name}, {camera.camera}", path)
            for source in self._sources
            for camera in source.cameras
            if (path := film_path(out / source.name, camera.camera)).is_file()
        ]
        found = Found(records, read_json_lines(out / PROBLEMS), times, events, shots, event_maps, films, labels)
        write_text(out / REPORT, render_replay(summary, found))

    def close(self) -> None:
        """Delete temporary files."""
        if self._truth is not None:
            self._truth.close()


def worst_moments(out: Path) -> list[Moment]:
    """Frames with the largest share of pixels on the wrong side of the model's threshold, some seconds apart."""
    ranked = sorted(read_json_lines(out / FRAMES_FILE), key=lambda frame: -_badness(frame))
    chosen: list[dict[str, Any]] = []
    for frame in ranked:
        near = [
            other
            for other in chosen
            if (other["bag"], other["camera"]) == (frame["bag"], frame["camera"])
            and abs(other["recorded_ns"] - frame["recorded_ns"]) < _APART_NS
        ]
        if not near and _badness(frame) > 0:
            chosen.append(frame)
        if len(chosen) == WORST:
            break
    return [
        Moment(frame["bag"], frame["camera"], frame["number"], f"worst_{number}")
        for number, frame in enumerate(chosen, start=1)
    ]


def _badness(frame: Mapping[str, Any]) -> float:
    """Missed share of the anomalies plus false share of the known pixels."""
    return (frame["missed"] or 0.0) + (frame["false"] or 0.0)


def _event_moments(events: Sequence[Event]) -> list[Moment]:
    """Pictures of the longest events, films of the first among them."""
    ranked = sorted(range(len(events)), key=lambda i: (-events[i].frames, i))[:EVENT_PICTURES]
    filmed = set(ranked[:EVENT_FILMS])
    return [
        Moment(events[i].bag, events[i].camera, events[i].peak, f"event_{i + 1}", i in filmed) for i in sorted(ranked)
    ]
