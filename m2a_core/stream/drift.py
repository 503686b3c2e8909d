"""Whether a network's answers still look as they did on the calibration frames.

Another country, a turned camera, rain are outside of what the thresholds were chosen on.

Each answer becomes a few figures; their distance to the calibration's is Mahalanobis' with a shrunk correlation (Lee et
al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018, do so with a network's
features). A single unusual frame is not drift: most of the last frames must be unlike 95 % of the calibration's.
docs/reliability.md has precision and recall.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from m2a_core.bundle.score_profile import FEATURES, ScoreProfile
from m2a_core.contract.network_output import NetworkOutput

DRIFT = "drift"

LEAST_FRAMES = 50
"""Calibration frames below which a distribution of so many figures is a guess."""
WINDOW, SHARE = 20, 0.5
_WITHIN = 0.95
_STEP, _FOLDS, _SHRINKAGE, _SPREAD = 4, 5, 0.1, 0.05
_EPSILON = 1e-3


def features(output: NetworkOutput, valid: tuple[int, int]) -> np.ndarray:
    """The figures of one answer.

    Args:
        output: of the whole image.
        valid: H, W of the image on the network's input, without padding.

    Returns:
        float64 [FEATURES]: mean, median and 90th percentile of f (Eq. 7), mean entropy of the queries' classes, mean of
        their best known class, mean probability of "no object", share of pixels that a query's mask claims. Shares are
        logits.
    """
    height, width = valid
    anomaly = output.anomaly[:height:_STEP, :width:_STEP]
    claimed = output.query_masks[:, : height // _STEP, : width // _STEP].any(0)
    probs = output.class_probs.astype(np.float64)
    entropy = -(probs * np.log(probs + 1e-9)).sum(1).mean()
    of_pixels = [anomaly.mean(), *np.percentile(anomaly, [50, 90])]
    of_queries = [probs[:, :-1].max(1).mean(), probs[:, -1].mean(), claimed.mean()]
    return np.array([*map(_logit, of_pixels), entropy, *map(_logit, of_queries)])


def fit(figures: np.ndarray) -> ScoreProfile:
    """The distribution of calibration frames' figures.

    Args:
        figures: float64 [N, FEATURES], N >= ``LEAST_FRAMES``.
    """
    distances = np.empty(len(figures))
    for fold in range(_FOLDS):
        others = np.arange(len(figures)) % _FOLDS != fold
        distances[~others] = _profile(figures[others]).distance(figures[~others])
    return _profile(figures, float(np.quantile(distances, _WITHIN)))


def _profile(figures: np.ndarray, limit: float = 1.0) -> ScoreProfile:
    center, scale = np.median(figures, 0), figures.std(0) + _SPREAD
    z = (figures - center) / scale
    spread = np.maximum(z.std(0), 1e-6)
    correlation = np.cov((z / spread).T, bias=True)
    shrunk = (1 - _SHRINKAGE) * correlation + _SHRINKAGE * np.eye(FEATURES)
    precision = tuple(tuple(map(float, row)) for row in np.linalg.inv(shrunk))
    return ScoreProfile(tuple(map(float, center)), tuple(map(float, scale)), precision, limit, len(figures))


def _logit(share: float) -> float:
    inside = min(max(float(share), _EPSILON), 1 - _EPSILON)
    return float(np.log(inside / (1 - inside)))


class DriftWatch:
    """Judges the answers to one camera's images, one after the other."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._unlike: deque[bool] = deque(maxlen=WINDOW)

    def judge(self, output: NetworkOutput, valid: tuple[int, int], profile: ScoreProfile | None) -> str:
        """``drift`` where most of the last ``WINDOW`` answers are unlike the calibration's; else empty.

        Args:
            output: see ``features``.
            valid: see ``features``.
            profile: of the model; None where it was calibrated without one.
        """
        if profile is None:
            return ""
        self._unlike.append(bool(profile.distance(features(output, valid)[None])[0] > profile.limit))
        is_full = len(self._unlike) == WINDOW
        return DRIFT if is_full and sum(self._unlike) > SHARE * WINDOW else ""
