"""Figures of a replay against ground truth: pixels in a first pass over the results, components in a second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from m2a_core.errors import DataError
from m2a_core.files import json_text, plain
from m2a_core.metrics.pixel import PixelMetrics, PixelResult, split_scores
from m2a_core.metrics.runs import SortedRun
from m2a_core.metrics.smiyc_curve import FrameBins, pooled_curve
from m2a_ros.bag.calibration import parse_mountings, read_projector
from m2a_ros.bag.reader import Bag
from m2a_ros.review.component_pass import ComponentPass, progress_of
from m2a_ros.review.histograms import HistogramFile
from m2a_ros.review.objects import ObjectTracker
from m2a_ros.review.request import ReviewRequest, Source
from m2a_ros.review.results import FrameResult
from m2a_ros.review.segments import segments_of
from m2a_ros.review.truth import GroundTruth

FRAMES_FILE, HISTOGRAMS_FILE = "truth_frames.jsonl", "truth_histograms.npz"

_SWEPT_TPR = (0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3)
_BUFFER, _SEGMENT_BUFFER = 1 << 26, 1 << 24


@dataclass
class FrameMetrics:
    """One scored frame.

    Attributes:
        bag: name of the bag.
        camera: name of the camera.
        number: of the camera's frames, from 0.
        stamp_ns: stamp of the image.
        recorded_ns: when it was recorded.
        segment: name of its segment.
        n_anomaly: anomalous pixels.
        n_known: known pixels.
        auprc: the frame's own; None without anomalous or without known pixels.
        missed: share of the anomalous pixels below the model's threshold; None without any.
        false: share of the known pixels at or above it; None without any.
    """

    bag: str
    camera: str
    number: int
    stamp_ns: int
    recorded_ns: int
    segment: str
    n_anomaly: int
    n_known: int
    auprc: float | None
    missed: float | None
    false: float | None


class Group:
    """Pixels of frames that are scored together, in bounded memory."""

    def __init__(self, buffer_values: int) -> None:
        """Start empty."""
        self.pixels = PixelMetrics(buffer_values)
        self.bins: list[FrameBins] = []
        self.frames = 0

    def add(self, score: np.ndarray, labels: np.ndarray, bins: FrameBins) -> None:
        """Add a frame: score map and labels [H, W]."""
        self.pixels.update(score, labels)
        self.bins.append(bins)
        self.frames += 1


def evaluate_replay(
    out: Path, sources: Sequence[Source], request: ReviewRequest, truth: GroundTruth, threshold: float
) -> dict[str, Any]:
    """Score the results in ``out``; writes ``truth_frames.jsonl`` and ``truth_histograms.npz`` there.

    Args:
        out: the output folder, its output bags complete.
        sources: the bags.
        request: the options.
        truth: ground truth, open.
        threshold: the model's: a pixel is unknown from it on.

    Returns:
        For the summary, JSON values: counts of what matched and what did not, ``overall``, ``segments``, ``objects``,
        ``thresholds``; figures that are undefined are None.

    Raises:
        DataError: a bag is damaged.
        OSError: a file cannot be written.
    """
    first = _FirstPass(out, request, truth, threshold)
    for source in sources:
        first.read(source)
    overall = first.overall.pixels.compute()
    binned = pooled_curve(first.overall.bins).best_f1_threshold if first.overall.bins else math.nan
    swept = sorted(_swept(overall, threshold, binned))
    second = ComponentPass(out, request, truth, swept, {(f.bag, f.camera, f.stamp_ns) for f in first.frames})
    for source in sources:
        second.read(source)
    names = {(frame.bag, frame.segment): None for frame in first.frames}
    _write_frames(out, first)
    unused = truth.labels.unused()
    figures: dict[str, Any] = plain(
        {
            "masks": len(truth.labels),
            "masks_repeated": truth.labels.repeated,
            "frames_scored": len(first.frames),
            "frames_without_truth": first.without,
            "masks_without_frame": {"count": len(unused), "first": unused[:5]},
            "failed": {"count": len(truth.failed), "first": truth.failed[:5]},
            "track": request.track.value,
            "pixel": pixel_figures(overall),
            "overall": {
                **figures_of(overall, first.overall.bins),
                **second.components(binned),
                "n_frames": len(first.frames),
                "threshold": binned,
                "threshold_rule": "best pixel F1 on the SMIYC binned curve",
            },
            "segments": [
                {"bag": key[0], "segment": key[1], **first.segments[key], **second.components(binned, key)}
                for key in names
            ],
            "objects": [found.figures() for tracker in first.trackers for found in tracker.objects()],
            "objects_by": "instance ids" if truth.has_instances else "components of the labels, followed by overlap",
            "distances": first.distances,
            "model_threshold": threshold,
            "thresholds": [second.row(value, overall, minutes_of(first.frames)) for value in swept],
            "minutes": minutes_of(first.frames),
            "curve": thinned(overall),
        }
    )
    return figures


def minutes_of(frames: Sequence[FrameMetrics]) -> float:
    """Minutes of driving that scored frames stand for: by camera, their number times its median step."""
    streams: dict[tuple[str, str], list[int]] = {}
    for frame in frames:
        streams.setdefault((frame.bag, frame.camera), []).append(frame.recorded_ns)
    seconds = 0.0
    for times in streams.values():
        steps = [b - a for a, b in pairwise(times) if b > a]
        seconds += len(times) * median(steps) / 1e9 if steps else 0.0
    return seconds / 60


def pixel_figures(result: PixelResult) -> dict[str, Any]:
    """The exact pixel figures by name."""
    return {field.name: getattr(result, field.name) for field in fields(result) if field.name != "curve"}


def figures_of(result: PixelResult, bins: Sequence[FrameBins]) -> dict[str, Any]:
    """Pixel figures under the names of ``m2a evaluate``."""
    binned = asdict(pooled_curve(bins)) if bins else None
    return {**pixel_figures(result), "n_pixels": result.n_anomaly + result.n_known, "smiyc_binned": binned}


def thinned(result: PixelResult, points: int = 200) -> dict[str, list[float]]:
    """A drawable PR and ROC curve."""
    pick = (
        np.unique(np.linspace(0, len(result.curve.recall) - 1, points).astype(int))
        if len(result.curve.recall)
        else np.empty(0, int)
    )
    columns = ("threshold", "recall", "precision", "fpr")
    return {name: [round(float(v), 6) for v in getattr(result.curve, name)[pick]] for name in columns}


class _FirstPass:
    """Pixels, objects, and what matches what."""

    def __init__(self, out: Path, request: ReviewRequest, truth: GroundTruth, threshold: float) -> None:
        self._out, self._request, self._truth, self._threshold = out, request, truth, threshold
        self.overall = Group(_BUFFER)
        self.segments: dict[tuple[str, str], dict[str, Any]] = {}
        self.frames: list[FrameMetrics] = []
        self.histograms = HistogramFile()
        self.trackers: list[ObjectTracker] = []
        self.distances: dict[str, str] = {}
        self.without = 0

    def read(self, source: Source) -> None:
        """Score a bag's frames."""
        segments = segments_of(source, self._request)
        trackers: dict[str, ObjectTracker] = {}
        group, current = Group(_SEGMENT_BUFFER), ""
        for frame in progress_of(self._out, source, "pixels"):
            labels = self._labels(source.name, frame)
            if labels is None:
                continue
            segment = segments.of(frame.recorded_ns)
            if segment != current and group.frames:
                self._close(source.name, current, group)
                group = Group(_SEGMENT_BUFFER)
            current = segment
            try:
                self._score(source.name, segment, frame, labels, group)
                if frame.camera not in trackers:
                    trackers[frame.camera] = self._tracker(source, frame)
                ids = self._truth.read_instances(source.name, frame.camera, frame.stamp_ns)
                if ids is not None and ids.shape != labels.shape:
                    raise DataError(
                        f"instance ids are {list(ids.shape)}, labels {list(labels.shape)}; expected the same"
                    )
                if ids is None and self._truth.has_instances:
                    raise DataError("no instance ids for this stamp; the frame is in the pixel figures only")
                trackers[frame.camera].add(frame.number, frame.stamp_ns, labels, frame.instances, ids)
            except DataError as error:
                self._truth.failed.append(f"{_name(source.name, frame)}: {error}")
        if group.frames:
            self._close(source.name, current, group)
        self.trackers += trackers.values()

    def _labels(self, bag: str, frame: FrameResult) -> np.ndarray | None:
        try:
            labels = self._truth.read(bag, frame.camera, frame.stamp_ns)
        except DataError as error:
            self._truth.failed.append(str(error))
            return None
        if labels is None:
            self.without += 1
        return labels

    def _score(self, bag: str, segment: str, frame: FrameResult, labels: np.ndarray, group: Group) -> None:
        anomaly, known = (np.sort(part) for part in split_scores(frame.anomaly, labels))
        if not len(anomaly) and not len(known):
            raise DataError("every pixel of the ground truth is void (255): nothing to score")
        bins = FrameBins.of_frame(anomaly, known)
        for one in (self.overall, group):
            one.add(frame.anomaly, labels, bins)
        alone = PixelMetrics()
        alone.add_runs(SortedRun.of_sorted(anomaly), SortedRun.of_sorted(known))
        missed = np.searchsorted(anomaly, self._threshold) / len(anomaly) if len(anomaly) else None
        false = 1 - np.searchsorted(known, self._threshold) / len(known) if len(known) else None
        self.histograms.add(anomaly, known)
        self.frames.append(
            FrameMetrics(
                bag,
                frame.camera,
                frame.number,
                frame.stamp_ns,
                frame.recorded_ns,
                segment,
                len(anomaly),
                len(known),
                alone.compute().auprc,
                missed,
                false,
            )
        )

    def _close(self, bag: str, segment: str, group: Group) -> None:
        key = (bag, segment)
        self.segments[key] = {**figures_of(group.pixels.compute(), group.bins), "n_frames": group.frames}

    def _tracker(self, source: Source, frame: FrameResult) -> ObjectTracker:
        topic = next(t for t in source.cameras if t.camera == frame.camera)
        size = (frame.anomaly.shape[1], frame.anomaly.shape[0])
        with Bag(source.path) as bag:
            mountings, rectified = parse_mountings(self._request.mountings), frame.camera in source.rectified
            found = read_projector(bag, topic, frame.frame_id, size, mountings, rectified)
        name = f"{source.name}/{frame.camera}"
        self.distances[name] = found if isinstance(found, str) else "metres from the point below the camera"
        projector = None if isinstance(found, str) else found
        return ObjectTracker(source.name, frame.camera, projector, self._request.track.min_true)


def _swept(overall: PixelResult, model: float, binned: float) -> set[float]:
    """Thresholds: the model's, the benchmark's, the best F1's, and those of round true-positive rates."""
    curve = overall.curve
    at = [float(curve.threshold[np.searchsorted(curve.recall, tpr)]) for tpr in _SWEPT_TPR if len(curve.recall)]
    values = {model, binned, overall.best_f1_threshold, overall.tpr95_threshold, *at}
    return {float(value) for value in values if math.isfinite(value)}


def _write_frames(out: Path, first: _FirstPass) -> None:
    lines = [json_text(asdict(frame)) + "\n" for frame in first.frames]
    (out / FRAMES_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")
    first.histograms.save(out / HISTOGRAMS_FILE)


def _name(bag: str, frame: FrameResult) -> str:
    return f"{bag}/{frame.camera}/{frame.stamp_ns}.png"
