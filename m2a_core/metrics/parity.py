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

TYPICAL_SHARE = 0.99
"""Share of a map's pixels that stay within its typical error; the rest are single cells that rounding flips."""


@dataclass(frozen=True)
class Quantities:
    """What agreement is measured in.

    Attributes:
        rank_correlation: Spearman correlation of ``anomaly``.
        auprc_loss: 1 - AuPRC of ``anomaly`` over all frames, where the reference's highest-scored 5 % of all pixels
            are the truth: 0 for an equal ranking, needs no labels.
        argmax_agreement: share of pixels of the same class in ``semantic``.
        max_error: largest absolute difference of ``anomaly``.
        typical_error: absolute difference that 99 % of the pixels of ``anomaly`` stay within.
        refined_agreement: share of pixels that ``refined`` hides (0) in both or in neither.
        refined_error: absolute difference of ``refined`` that 99 % of those pixels stay within.
        background_error: absolute difference that 99 % of the pixels of ``background`` stay within.
        query_agreement: share of cells with the same ``winning_query``.
        mask_iou: cells in both ``query_masks``, by cells in either; all queries together; 1 where neither has any.
        probability_error: largest absolute difference of ``class_probs``.
    """

    rank_correlation: float
    auprc_loss: float
    argmax_agreement: float
    max_error: float
    typical_error: float
    refined_agreement: float
    refined_error: float
    background_error: float
    query_agreement: float
    mask_iou: float
    probability_error: float


class Tolerance(Quantities):
    """Limits of a gate: the worst that each quantity may be."""


_HALF = Tolerance(
    rank_correlation=0.97,
    auprc_loss=0.01,
    argmax_agreement=0.995,
    max_error=0.5,
    typical_error=0.05,
    refined_agreement=0.995,
    refined_error=0.05,
    background_error=0.05,
    query_agreement=0.9,
    mask_iou=0.98,
    probability_error=0.1,
)

TOLERANCES = {
    "fp32": Tolerance(
        rank_correlation=0.999, auprc_loss=0.001, argmax_agreement=0.999, max_error=0.05, typical_error=0.01,
        refined_agreement=0.999, refined_error=0.01, background_error=0.01, query_agreement=0.999, mask_iou=0.998,
        probability_error=0.01,
    ),
    "mixed": _HALF,
    "fp16": _HALF,
    "int8": Tolerance(
        rank_correlation=0.9, auprc_loss=0.05, argmax_agreement=0.98, max_error=1.0, typical_error=0.15,
        refined_agreement=0.98, refined_error=0.15, background_error=0.15, query_agreement=0.9, mask_iou=0.95,
        probability_error=0.4,
    ),
}  # fmt: skip
"""By precision. Most pixels are known beyond doubt and their ranks among each other are rounding, so a sound network in
half precision correlates at 0.98 where its AuPRC loss is below 0.001. Masks gate the attention, so rounding flips
single cells: the largest error anywhere may be large where ranks and classes agree."""

MIN_EQUAL = 0.98
"""Share of a frame's pixels whose class or unknown, at the camera's size, must be that of the reference."""
MAX_LEVELS = 2
"""Grey levels that ``TYPICAL_SHARE`` of the pixels that the network sees must be within."""

_AT_LEAST = ("rank_correlation", "argmax_agreement", "refined_agreement", "query_agreement", "mask_iou")


@dataclass(frozen=True)
class Parity(Quantities):
    """Agreement of a network with its reference over some frames; each quantity is the worst frame's.

    Every output of the graph has a say. Errors of scores are in units of the frame's largest reference score where that
    is above 1, as S, a sum over queries, has no bound; they are infinite where the network gave no number.

    Attributes:
        frames: how many.
    """

    frames: int

    def violations(self, tolerance: Tolerance) -> list[str]:
        """What is out of tolerance, in words; empty where nothing is."""
        found = []
        for name, limit in asdict(tolerance).items():
            value, low = getattr(self, name), name in _AT_LEAST
            # Written so that NaN is a violation.
            if not (value >= limit if low else value <= limit):
                found.append(f"{name} {value:.4g} (allowed {'at least' if low else 'at most'} {limit:.4g})")
        return found

    def describe(self) -> str:
        """What matters of it, in one line."""
        return (
            f"{self.frames} frames: rank correlation {self.rank_correlation:.4f}, AuPRC loss {self.auprc_loss:.4f}, "
            f"same class {self.argmax_agreement:.2%}, max error {self.max_error:.3f}, typical error "
            f"{self.typical_error:.3f}; refined alike {self.refined_agreement:.2%}, within {self.refined_error:.3f}; "
            f"background within {self.background_error:.3f}; same query {self.query_agreement:.2%}; mask IoU "
            f"{self.mask_iou:.4f}; probabilities within {self.probability_error:.3f}"
        )


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
    worst = _worst([_compare_frame(g, r) for g, r in zip(got, reference, strict=True)])
    finite = all(np.isfinite(g.anomaly).all() for g in got)
    return Parity(
        frames=len(got),
        rank_correlation=min(map(_rank_correlation, got, reference)) if finite else float("nan"),
        auprc_loss=_auprc_loss(got, reference) if finite else float("nan"),
        **worst,
    )


def worst_of(parities: Sequence[Parity]) -> Parity:
    """The worst of each quantity; frames are added up. At least one."""
    worst = _worst([{k: v for k, v in asdict(parity).items() if k != "frames"} for parity in parities])
    return Parity(frames=sum(parity.frames for parity in parities), **worst)


def camera_violations(got: Sequence[NetworkOutput], reference: Sequence[NetworkOutput]) -> list[str]:
    """What is out of tolerance in what a graph that takes a camera's own image gives beside the rest.

    Args:
        got: of the network.
        reference: of its reference, the same frames in the same order.

    Returns:
        In words, the worst frame's; empty where nothing is, or the reference has no such outputs.
    """
    masks = [(g.open_set, r.open_set) for g, r in zip(got, reference, strict=True)]
    images = [(g.seen, r.seen) for g, r in zip(got, reference, strict=True)]
    equal = min((_agreement(g, r) for g, r in masks if g is not None and r is not None), default=1.0)
    levels = max(
        (_typical(np.abs(g.astype(np.int16) - r)) for g, r in images if g is not None and r is not None), default=0.0
    )
    found = []
    if equal < MIN_EQUAL:
        found.append(f"open_set {equal:.4g} (allowed at least {MIN_EQUAL:.4g})")
    if levels > MAX_LEVELS:
        found.append(f"seen {levels:.4g} (allowed at most {MAX_LEVELS})")
    return found


def _worst(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: (min if name in _AT_LEAST else max)(entry[name] for entry in found) for name in found[0]}


def _compare_frame(got: NetworkOutput, reference: NetworkOutput) -> dict[str, float]:
    unit = max(1.0, float(np.abs(reference.anomaly).max()))
    anomaly = _errors(got.anomaly, reference.anomaly) / unit
    refined = _errors(got.refined, reference.refined) / unit
    same = (got.refined == 0) == (reference.refined == 0)
    union = np.count_nonzero(got.query_masks | reference.query_masks)
    return {
        "argmax_agreement": _agreement(got.semantic, reference.semantic),
        "max_error": float(anomaly.max()),
        "typical_error": _typical(anomaly),
        "refined_agreement": float(same.mean()),
        "refined_error": _typical(refined[same] if same.any() else refined),
        "background_error": _typical(_errors(got.background, reference.background)),
        "query_agreement": _agreement(got.winning_query, reference.winning_query),
        "mask_iou": np.count_nonzero(got.query_masks & reference.query_masks) / union if union else 1.0,
        "probability_error": float(_errors(got.class_probs, reference.class_probs).max()),
    }


def _errors(got: np.ndarray, reference: np.ndarray) -> np.ndarray:
    errors: np.ndarray = np.nan_to_num(np.abs(got - reference), nan=np.inf)
    return errors


def _typical(errors: np.ndarray) -> float:
    # Higher: an infinite error must not be interpolated away.
    return float(np.quantile(errors, TYPICAL_SHARE, method="higher"))


def _agreement(got: np.ndarray, reference: np.ndarray) -> float:
    return float((got == reference).mean())


def _rank_correlation(got: NetworkOutput, reference: NetworkOutput) -> float:
    return spearman(got.anomaly.ravel(), reference.anomaly.ravel())


def _auprc_loss(got: Sequence[NetworkOutput], reference: Sequence[NetworkOutput]) -> float:
    top = np.quantile(np.concatenate([r.anomaly.ravel() for r in reference]), 1 - TOP_SHARE)
    metrics = PixelMetrics()
    for g, r in zip(got, reference, strict=True):
        metrics.update(g.anomaly, (r.anomaly > top).astype(np.uint8))
    auprc = metrics.compute().auprc
    # Where every pixel has the same reference score there is nothing to rank.
    return 0.0 if np.isnan(auprc) else 1 - auprc


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
