"""Component metrics of SegmentMeIfYouCan: sIoU, PPV and F1* (Eqs. 22-24).

Rules, as the benchmark's evaluation code applies them (https://github.com/SegmentMeIfYouCan/road-anomaly-benchmark,
metric "SegEval"):

* Predicted pixels: score > T (strictly) and truth not void. Components are 8-connected.
* Predicted components below 500 pixels (anomaly track) or 50 (obstacle track) are dropped, by their size before the
  next step.
* True components below 100 (anomaly) or 10 (obstacle) pixels become void; so does a frame's whole background when it
  has fewer pixels than that. Void pixels are then left out of every count.
* sIoU of a true component k: ``|k & P| / (|P'| + |k| - |k & P| - |A|)``: P all predicted pixels, P' the predicted
  components that touch k, A the pixels of P' on other true components.
* PPV of a predicted component: the share of it that is on a true component.
* For tau in 0.25, 0.30, ..., 0.75: a true component is found when sIoU >= tau, else missed; a predicted one is false
  when PPV < tau. (The paper prints > and <=; the code decides.) F1(tau) = 2 TP / (2 TP + FN + FP) over all
  frames together.
* sIoU and PPV are means over all components of all frames; F1* is the mean of F1(tau) over the eleven tau.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from m2a_core.metrics.pixel import ANOMALY, VOID

TAUS = np.linspace(0.25, 0.75, 11)


class Track(str, Enum):
    """The benchmark's tracks; they differ in the smallest component that counts."""

    ANOMALY = "anomaly"
    OBSTACLE = "obstacle"

    @property
    def min_predicted(self) -> int:
        """Smallest predicted component, in pixels."""
        return 500 if self is Track.ANOMALY else 50

    @property
    def min_true(self) -> int:
        """Smallest true component, in pixels."""
        return 100 if self is Track.ANOMALY else 10


@dataclass(frozen=True)
class FrameComponents:
    """One frame's components: ``siou`` per true one, ``ppv`` per predicted one (fractions)."""

    siou: tuple[float, ...]
    ppv: tuple[float, ...]


@dataclass(frozen=True)
class ComponentResult:
    """Component metrics of a data set, fractions in [0, 1]; NaN where there is nothing to average."""

    f1_star: float
    siou: float
    ppv: float
    n_true: int
    n_predicted: int


def frame_components(score: np.ndarray, truth: np.ndarray, threshold: float, track: Track) -> FrameComponents:
    """Compare the components of one frame.

    Args:
        score: float [H, W], higher = more anomalous.
        truth: uint8 [H, W]: 0 known, 1 anomaly, 255 void.
        threshold: T; a pixel is predicted when its score is above it.
        track: whose component sizes apply.
    """
    true_ids = _label(truth == ANOMALY)
    predicted_ids = _label((score > threshold) & (truth != VOID))
    predicted_size = np.bincount(predicted_ids.ravel())
    predicted_size[0] = track.min_predicted
    predicted_ids[(predicted_size < track.min_predicted)[predicted_ids]] = 0
    in_roi = (truth != VOID) & (np.bincount(true_ids.ravel()) >= track.min_true)[true_ids]
    true_ids, predicted_ids = true_ids[in_roi], predicted_ids[in_roi]

    n_true, n_predicted = int(true_ids.max(initial=0)) + 1, int(predicted_ids.max(initial=0)) + 1
    pair, pair_size = np.unique(true_ids.astype(np.int64) * n_predicted + predicted_ids, return_counts=True)
    pair_true, pair_predicted = np.divmod(pair, n_predicted)
    area_true = np.bincount(pair_true, pair_size, n_true)
    area_predicted = np.bincount(pair_predicted, pair_size, n_predicted)
    hit = (pair_true > 0) & (pair_predicted > 0)
    pair_true, pair_predicted, pair_size = pair_true[hit], pair_predicted[hit], pair_size[hit]
    true_hit = np.bincount(pair_true, pair_size, n_true)
    predicted_hit = np.bincount(pair_predicted, pair_size, n_predicted)
    # |P'| - |A| = the touching components' pixels off every true component, plus those on k itself.
    off_truth = np.bincount(pair_true, (area_predicted - predicted_hit)[pair_predicted], n_true)
    siou = true_hit[1:] / np.maximum(off_truth + area_true, 1)[1:]
    ppv = predicted_hit[1:] / np.maximum(area_predicted, 1)[1:]
    return FrameComponents(tuple(siou[area_true[1:] > 0].tolist()), tuple(ppv[area_predicted[1:] > 0].tolist()))


def component_metrics(frames: Sequence[FrameComponents]) -> ComponentResult:
    """Pool the frames' components."""
    siou = np.array([value for frame in frames for value in frame.siou])
    ppv = np.array([value for frame in frames for value in frame.ppv])
    f1 = []
    for tau in TAUS:
        found, false = np.count_nonzero(siou >= tau), np.count_nonzero(ppv < tau)
        errors = len(siou) - found + false
        f1.append(2 * found / (2 * found + errors) if found + errors else float("nan"))
    mean = [float(values.mean()) if len(values) else float("nan") for values in (siou, ppv)]
    return ComponentResult(float(np.mean(f1)), mean[0], mean[1], len(siou), len(ppv))


def _label(mask: np.ndarray) -> np.ndarray:
    ids: np.ndarray = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    return ids
