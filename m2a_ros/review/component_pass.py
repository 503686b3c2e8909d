"""The second pass over a replay's results: components and counts at thresholds that the first pass found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.metrics.component import FrameComponents, component_metrics, frame_components
from m2a_core.metrics.pixel import PixelResult, split_scores
from m2a_core.progress import ProgressBar
from m2a_ros.review.layout import OUTPUT_BAG
from m2a_ros.review.request import ReviewRequest, Source
from m2a_ros.review.results import FrameResult, frame_results
from m2a_ros.review.segments import segments_of
from m2a_ros.review.truth import GroundTruth


class ComponentPass:
    """Components and counts at each threshold.

    Args:
        out: the output folder.
        request: the options.
        truth: ground truth, open.
        thresholds: where to look.
        scored: bag, camera and stamp of the frames that the first pass scored.
    """

    def __init__(
        self,
        out: Path,
        request: ReviewRequest,
        truth: GroundTruth,
        thresholds: Sequence[float],
        scored: set[tuple[str, str, int]],
    ) -> None:
        """Start empty."""
        self._out, self._request, self._truth, self._scored = out, request, truth, scored
        self._segments: list[tuple[str, str]] = []
        self._parts: dict[float, list[FrameComponents]] = {value: [] for value in thresholds}
        self._above: dict[float, list[int]] = {value: [0, 0] for value in thresholds}

    def read(self, source: Source) -> None:
        """Look at a bag's scored frames again."""
        segments = segments_of(source, self._request)
        for frame in progress_of(self._out, source, "components"):
            if (source.name, frame.camera, frame.stamp_ns) not in self._scored:
                continue
            labels = self._truth.read(source.name, frame.camera, frame.stamp_ns)
            if labels is None or labels.shape != frame.anomaly.shape:
                continue
            self._segments.append((source.name, segments.of(frame.recorded_ns)))
            anomaly, known = split_scores(frame.anomaly, labels)
            for value, parts in self._parts.items():
                parts.append(frame_components(frame.anomaly, labels, value, self._request.track))
                self._above[value][0] += int(np.count_nonzero(anomaly >= value))
                self._above[value][1] += int(np.count_nonzero(known >= value))

    def components(self, threshold: float, segment: tuple[str, str] | None = None) -> dict[str, Any]:
        """Component figures at a swept threshold, of all frames or of a segment; None without that threshold."""
        if math.isnan(threshold):
            return dict.fromkeys(("f1_star", "siou", "ppv", "n_true", "n_predicted"))
        parts = self._parts[threshold]
        if segment is not None:
            parts = [part for part, name in zip(parts, self._segments, strict=True) if name == segment]
        return asdict(component_metrics(parts))

    def row(self, threshold: float, overall: PixelResult, minutes: float) -> dict[str, Any]:
        """What a threshold gives: pixel rates at score >= threshold, components at score > threshold.

        A false alarm is a predicted component, large enough to count, without one anomalous pixel.
        """
        tp, fp = self._above[threshold]
        alarms = sum(ppv == 0 for part in self._parts[threshold] for ppv in part.ppv)
        return {
            "threshold": threshold,
            "tpr": tp / overall.n_anomaly if overall.n_anomaly else None,
            "fpr": fp / overall.n_known if overall.n_known else None,
            **self.components(threshold),
            "false_alarms": alarms,
            "false_alarms_per_minute": alarms / minutes if minutes else None,
        }


def progress_of(out: Path, source: Source, what: str) -> Iterator[FrameResult]:
    """The results of a bag, with a progress bar that says ``what`` is done."""
    names = [topic.camera for topic in source.cameras]
    return iter(
        ProgressBar(
            frame_results(out / source.name / OUTPUT_BAG, names),
            desc=f"{what} {source.name}",
            unit="frame",
            total=sum(topic.count for topic in source.cameras),
        )
    )
