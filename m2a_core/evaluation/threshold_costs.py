"""What a threshold costs: which pixels and objects of labelled frames it finds, and which false alarms it raises."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from m2a_core.evaluation.calibration import alarm_score
from m2a_core.metrics.pixel import split_scores

_GRID = 64
"""Rows and columns of the pixels that are kept of a frame: thousands of frames must fit in memory."""


@dataclass(frozen=True)
class Costs:
    """At one threshold.

    Attributes:
        pixels: share of the anomalous pixels that reach it; None where there are none.
        found: objects of which the wanted share of pixels reaches it.
        objects: how many there are.
        alarms: frames that raise a false alarm.
        frames: how many there are.
    """

    pixels: float | None
    found: int
    objects: int
    alarms: int
    frames: int

    def describe(self, kind: str) -> str:
        """For people; ``kind`` says what the frames are."""
        alarms = f"{self.alarms} of {self.frames} {kind} frames raise a false alarm"
        if self.pixels is None:
            return alarms
        return f"{100 * self.pixels:.1f} % of anomalous pixels, {self.found} of {self.objects} objects found; {alarms}"


@dataclass
class ScoredFrames:
    """Scores of frames, kept as far as thresholds need them.

    Attributes:
        share: share of its pixels by which an object is found.
        anomalous: float32 [N] each, scores of a frame's anomalous pixels.
        objects: of each object, the highest threshold that finds it.
        alarms: of each frame, the highest threshold at which it raises a false alarm; in the order of the frames.
        sample: float32 [N] each, scores of a frame's known pixels on a grid.
    """

    share: float
    anomalous: list[np.ndarray] = field(default_factory=list)
    objects: list[float] = field(default_factory=list)
    alarms: list[float] = field(default_factory=list)
    sample: list[np.ndarray] = field(default_factory=list)

    def add(self, score: np.ndarray, truth: np.ndarray, pixels: int) -> None:
        """Add a frame.

        Args:
            score: float32 [H, W].
            truth: uint8 [H, W], 0 known, 1 anomaly, 255 not counted.
            pixels: how many known pixels make a false alarm, and how many an object has at least.

        Raises:
            DataError: the sizes differ, or a score is NaN.
        """
        anomalous, known = split_scores(score, truth)
        self.anomalous.append(anomalous)
        self.alarms.append(alarm_score(known, pixels))
        grid = tuple(slice(None, None, max(1, side // _GRID)) for side in score.shape)
        self.sample.append(score[grid][truth[grid] == 0])
        _, labels, stats, _ = cv2.connectedComponentsWithStats((truth == 1).astype(np.uint8), connectivity=8)
        for number in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= pixels):
            if number:
                own = score[labels == number]
                self.objects.append(alarm_score(own, max(1, round(self.share * len(own)))))

    def at(self, threshold: float) -> Costs:
        """What a threshold costs on the frames so far."""
        scores = np.concatenate(self.anomalous) if self.anomalous else np.empty(0, np.float32)
        return Costs(
            pixels=float(np.mean(scores >= threshold)) if len(scores) else None,
            found=sum(score >= threshold for score in self.objects),
            objects=len(self.objects),
            alarms=sum(score >= threshold for score in self.alarms),
            frames=len(self.alarms),
        )
