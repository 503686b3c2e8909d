"""How far a network in another precision or back end is from its reference, in the quantities that matter.

Needs nothing but NumPy: the same gate serves the export of half-precision graphs, the engine builder, and the first
load of an engine in a vehicle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.metrics.pixel import PixelMetrics

TOP_SHARE = 0.05
"""The share of all pixels, by the reference's anomaly score, that a detector should agree on most."""


@dataclass(frozen=True)
class Tolerance:
    """Limits of a gate.

    Attributes:
        rank_correlation: lowest Spearman correlation of the anomaly scores of a frame.
        auprc_loss: highest loss of AuPRC; see ``Parity``.
        argmax_agreement: lowest share of pixels of a frame with the reference's class.
        max_error: highest difference of the anomaly score anywhere; see ``Parity``.
    """

    rank_correlation: float
    auprc_loss: float
    argmax_agreement: float
    max_error: float


TOLERANCES = {
    "fp32": Tolerance(rank_correlation=0.999, auprc_loss=0.001, argmax_agreement=0.999, max_error=0.05),
    "mixed": Tolerance(rank_correlation=0.97, auprc_loss=0.01, argmax_agreement=0.995, max_error=0.5),
    "fp16": Tolerance(rank_correlation=0.97, auprc_loss=0.01, argmax_agreement=0.995, max_error=0.5),
    "int8": Tolerance(rank_correlation=0.9, auprc_loss=0.05, argmax_agreement=0.98, max_error=1.0),
}
"""By precision. Most pixels are known beyond doubt and their ranks among each other are rounding, so a sound network in
half precision correlates at 0.98 where its AuPRC loss is below 0.001. Masks gate the attention, so rounding flips
single cells: the largest error anywhere may be large where ranks and classes agree."""


@dataclass(frozen=True)
class Parity:
    """Agreement of a network with its reference over some frames.

    Attributes:
        frames: how many.
        rank_correlation: Spearman correlation of the anomaly scores, the worst frame's.
        auprc_loss: 1 - AuPRC of the network's anomaly scores, where the reference's highest-scored 5 % of all pixels
            are the truth: 0 for an equal ranking, needs no labels.
        argmax_agreement: share of pixels of the same class, the worst frame's.
        max_error: largest absolute difference of the anomaly score, in units of the frame's largest reference score
            where that is above 1, as S, a sum over queries, has no bound; infinite where the network gave no number.
    """

    frames: int
    rank_correlation: float
    auprc_loss: float
    argmax_agreement: float
    max_error: float

    def violations(self, tolerance: Tolerance) -> list[str]:
        """What is out of tolerance, in words; empty where nothing is."""
        low = ("rank_correlation", "argmax_agreement")
        found = []
        for name, limit in asdict(tolerance).items():
            value = getattr(self, name)
            # Written so that NaN is a violation.
            if not (value >= limit if name in low else value <= limit):
                found.append(f"{name} {value:.4g} (allowed {'at least' if name in low else 'at most'} {limit:.4g})")
        return found


def compare(got: Sequence[NetworkOutput], reference: Sequence[NetworkOutput]) -> Parity:
    """Compare frame by frame.

    Args:
        got: of the network.
        reference: of its reference, the same frames in the same order, at least one.

    Raises:
        ValueError: no frames, or not as many.
    """
    if not reference or len(got) != len(reference):
        raise ValueError(f"parity needs the same frames from both, at least one; got {len(got)} and {len(reference)}")
    top = np.quantile(np.concatenate([r.anomaly.ravel() for r in reference]), 1 - TOP_SHARE)
    finite = all(np.isfinite(g.anomaly).all() for g in got)
    metrics = PixelMetrics()
    ranks, classes, errors = [], [], []
    for g, r in zip(got, reference, strict=True):
        unit = max(1.0, float(np.abs(r.anomaly).max()))
        errors.append(float(np.nan_to_num(np.abs(g.anomaly - r.anomaly), nan=np.inf).max()) / unit)
        classes.append(float((g.semantic == r.semantic).mean()))
        if finite:
            ranks.append(spearman(g.anomaly.ravel(), r.anomaly.ravel()))
            metrics.update(g.anomaly, (r.anomaly > top).astype(np.uint8))
    auprc = metrics.compute().auprc if finite else float("nan")
    if finite and np.isnan(auprc):
        # Every pixel has the same reference score: there is nothing to rank.
        auprc = 1.0
    return Parity(
        frames=len(got),
        rank_correlation=min(ranks) if finite else float("nan"),
        auprc_loss=1 - auprc,
        argmax_agreement=min(classes),
        max_error=max(errors),
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two float [N] arrays, ties at their mean rank; 1 where both are constant, 0 where one is."""
    ranks = [_ranks(values) for values in (a, b)]
    spreads = [float(r.std()) for r in ranks]
    if min(spreads) == 0:
        return 1.0 if max(spreads) == 0 else 0.0
    centred = [r - r.mean() for r in ranks]
    return float(np.mean(centred[0] * centred[1]) / (spreads[0] * spreads[1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse.ravel()]
