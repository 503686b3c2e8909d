"""Choosing the anomaly threshold: at a true-positive rate on labelled frames, or with a guarantee from normal frames.

The guarantee is split-conformal (Vovk et al., "Algorithmic Learning in a Random World", 2005; Angelopoulos and Bates,
"A Gentle Introduction to Conformal Prediction", 2023, Sec. 1): whatever the distribution of scores, if a new normal
frame is exchangeable with the n calibration frames, the chance that it raises an alarm is at most the wanted rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m2a_core.errors import ConfigError, DataError


@dataclass(frozen=True)
class FrameGuarantee:
    """A threshold with a bound on false alarms per normal frame.

    Attributes:
        threshold: a pixel counts when its score is at least this.
        rate: the wanted rate: at most this share of normal frames raises an alarm, on average over calibration sets.
        frames: calibration frames used.
        alarms: how many of them raise an alarm at the threshold.
        rank: the threshold lies just above the ``rank``-th lowest of their alarm scores.
    """

    threshold: float
    rate: float
    frames: int
    alarms: int
    rank: int

    def bound(self, confidence: float = 0.95) -> float:
        """With this confidence over calibration sets, the alarm rate of this very threshold is at most the bound."""
        return _beta_bound(self.frames, self.rank, confidence)


def check_tpr(tpr: float) -> None:
    """Raise a ConfigError unless a true-positive rate is in (0, 1]."""
    if not 0 < tpr <= 1:
        raise ConfigError(f"true-positive rate {tpr}: expected a fraction in (0, 1], such as 0.95")


def require_anomalies(anomalous: int, void: int = 0) -> None:
    """Raise a DataError unless some pixel of the ground truth is anomalous.

    Args:
        anomalous: pixels that are.
        void: pixels that do not count.
    """
    if anomalous:
        return
    if void:
        raise DataError(
            f"the ground truth has no anomalous pixel (1), but {void} void ones (255): nothing to calibrate on. If 255 "
            "marks the anomalies in these masks, store 1 instead"
        )
    raise DataError(
        "every pixel of the ground truth is known (0): nothing to calibrate on. Only if these frames truly show no "
        "anomaly, leave out --gt and give --frame-fpr"
    )


def threshold_at_tpr(scores: np.ndarray, tpr: float) -> float:
    """The highest threshold at which at least a share ``tpr`` of the anomalous pixels is found.

    Args:
        scores: float [N], scores of all anomalous pixels.
        tpr: in (0, 1].

    Raises:
        ConfigError: the rate is out of range.
        DataError: there is no anomalous pixel.
    """
    check_tpr(tpr)
    require_anomalies(len(scores))
    found = min(len(scores), math.ceil(tpr * len(scores) - 1e-9))
    return float(np.partition(scores, len(scores) - found)[len(scores) - found])


def alarm_score(score: np.ndarray, pixels: int) -> float:
    """The highest threshold at which a frame raises an alarm: its ``pixels``-th highest score.

    Args:
        score: float [N], scores of the frame's counted pixels.
        pixels: how many pixels make an alarm.
    """
    if len(score) < pixels:
        return -math.inf
    return float(np.partition(score, len(score) - pixels)[len(score) - pixels])


def frames_needed(rate: float) -> int:
    """The fewest normal frames that can give the guarantee: the n with (n + 1) * rate >= 1.

    Raises:
        ConfigError: the rate is out of range.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"false alarms per frame {rate}: expected a fraction between 0 and 1, such as 0.01")
    return math.ceil(1 / rate - 1e-9) - 1


def require_frames(count: int, rate: float) -> None:
    """Raise a DataError where so many normal frames cannot guarantee a rate, a ConfigError where none could."""
    needed = frames_needed(rate)
    if count < needed:
        raise DataError(
            f"{count} normal frames cannot guarantee a false-alarm rate of {rate:g} per frame: at least {needed} are "
            "needed"
        )


def conformal_threshold(alarm_scores: np.ndarray, rate: float) -> FrameGuarantee:
    """The lowest threshold with the guarantee.

    Args:
        alarm_scores: float32 or float64 [n], ``alarm_score`` of each normal frame.
        rate: the wanted rate, in (0, 1).

    Raises:
        ConfigError: the rate is out of range.
        DataError: there are too few frames; the message says how many are needed. Or most cannot raise an alarm.
    """
    n = len(alarm_scores)
    require_frames(n, rate)
    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)
    quiet = np.sort(alarm_scores)[rank - 1]
    if not np.isfinite(quiet):
        raise DataError("most frames have fewer counted pixels than make an alarm: give a smaller --min-pixels")
    # A pixel counts at score >= threshold, the bound is on scores above the order statistic: the next float up.
    # Scores are float32, whose next value is the smallest step that tells them apart.
    threshold = float(np.nextafter(np.float32(quiet), np.float32(np.inf)))
    alarms = int(np.count_nonzero(alarm_scores >= threshold))
    return FrameGuarantee(threshold, rate, n, alarms, rank)


def _beta_bound(n: int, rank: int, confidence: float) -> float:
    """Upper bound of the alarm rate beyond the ``rank``-th of n sorted scores.

    One minus that rate is distributed as Beta(rank, n + 1 - rank) over calibration sets; the chance that it is at most
    p is P(Binomial(n, p) >= rank).
    """

    def at_least(p: float) -> float:
        log_p, log_q = math.log(p), math.log1p(-p)
        return sum(
            math.exp(math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
            for i in range(rank, n + 1)
        )

    low, high = 1e-12, 1 - 1e-12
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(middle) <= 1 - confidence else (low, middle)
    return 1 - low


def threshold_at_alarms(alarm_scores: np.ndarray, alarms: int) -> float:
    """The lowest threshold at which at most ``alarms`` frames raise one.

    Args:
        alarm_scores: float32 [n], ``alarm_score`` of each normal frame, n >= 1.
        alarms: 0 or more.

    Raises:
        DataError: some frames cannot raise an alarm.
    """
    _require_finite(alarm_scores)
    ordered = np.sort(alarm_scores.astype(np.float32))[::-1]
    if alarms >= len(ordered):
        return float(ordered[-1])
    return float(np.nextafter(ordered[alarms], np.float32(np.inf)))


@dataclass(frozen=True)
class MinuteRate:
    """A threshold by false alarms per minute of driving.

    Attributes:
        threshold: a pixel counts when its score is at least this.
        events: alarms at it: frames in a row that raise one are one, but each second counts again.
        minutes: how long the frames last.
    """

    threshold: float
    events: int
    minutes: float

    def bound(self, confidence: float = 0.95) -> float:
        """With this confidence, alarms per minute are at most this, if they come independently (Poisson)."""

        def at_most_seen(mean: float) -> float:
            terms = (i * math.log(mean) - math.lgamma(i + 1) - mean for i in range(self.events + 1))
            return sum(math.exp(term) for term in terms)

        low, high = 1e-9, 10.0 * (self.events + 10)
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most_seen(middle) > 1 - confidence else (low, middle)
        return high / self.minutes


def require_minutes(count: int, fps: float, rate: float) -> None:
    """Raise a DataError where so many frames do not last until one alarm is due, a ConfigError for impossible rates."""
    if not (fps > 0 and math.isfinite(fps) and rate > 0 and math.isfinite(rate)):
        raise ConfigError(f"{rate:g} false alarms a minute at {fps:g} frames a second: both must be above 0")
    needed = math.ceil(60 * fps / rate - 1e-9)
    if count < needed:
        raise DataError(
            f"{count} frames at {fps:g} a second are too few to tell {rate:g} false alarms a minute: at least {needed} "
            "are needed"
        )


def minute_threshold(alarm_scores: np.ndarray, fps: float, rate: float) -> MinuteRate:
    """The lowest threshold from which on alarms come at most at a rate.

    Args:
        alarm_scores: float32 [n], ``alarm_score`` of each normal frame, in the order in which they were taken.
        fps: frames a second.
        rate: alarms per minute.

    Raises:
        ConfigError: the rate or ``fps`` is out of range.
        DataError: the frames are too few to tell, or one is too small to raise an alarm.
    """
    require_minutes(len(alarm_scores), fps, rate)
    _require_finite(alarm_scores)
    minutes = len(alarm_scores) / fps / 60
    allowed, events = math.floor(rate * minutes + 1e-9), 0
    for score in np.unique(alarm_scores.astype(np.float32))[::-1]:
        found = _events(alarm_scores >= score, fps)
        if found > allowed:
            return MinuteRate(float(np.nextafter(score, np.float32(np.inf))), events, minutes)
        events = found
    return MinuteRate(float(alarm_scores.min()), events, minutes)


def _require_finite(alarm_scores: np.ndarray) -> None:
    if not np.isfinite(alarm_scores).all():
        raise DataError("some frames have fewer counted pixels than make an alarm: give a smaller --min-pixels")


def _events(loud: np.ndarray, fps: float) -> int:
    """Alarms in frames that raise one, bool [n]: each run of them is one, and one more with each second it goes on."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(np.int8)))
    return sum(math.ceil(length / fps - 1e-9) for length in (edges[1::2] - edges[::2]).tolist())
