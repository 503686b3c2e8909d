"""Is the exported graph the network? Both look at real frames and must say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from m2a_core.contract.io_spec import FULL_MASKS, OUTPUTS, RAW_OUTPUTS
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ExportError
from m2a_core.export.network import ExportedNetwork
from m2a_core.metrics.parity import TOLERANCES, Parity, compare
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Runtime
from m2a_core.runtime.onnx_runtime import OnnxRuntime

MAX_ERROR = 5e-3
"""Largest difference of a float output, in units of its largest value where that is above 1: S, a sum over queries, has
no bound. Masks gate the attention, so rounding can flip single cells: one value in a thousand may be ``RARE`` times as
far off."""

RARE = 10

TYPICAL_ERROR = 3e-4
"""Difference that 90 % of a float output's values stay within, in the same units."""

MIN_AGREEMENT = 0.999
"""Share of equal values of a discrete output (class ids, winning queries, masks). A decision between scores that
PyTorch holds within ``TYPICAL_ERROR`` of each other is equal whichever way it falls."""


@dataclass(frozen=True)
class Agreement:
    """How one output compares over all frames.

    Attributes:
        name: of the output.
        max_error: largest difference in the units of ``MAX_ERROR`` but for the farthest 0.1 % of values, which count
            for 1 / ``RARE``; 0 for discrete outputs.
        typical_error: 90th percentile of the differences, the worst frame's; 0 for discrete outputs.
        equal: share of equal values or ties, the worst frame's; 1 for float outputs but ``refined``, whose zeros are a
            mask: there it is the share of pixels hidden in both or in neither, and the errors are of these pixels.
    """

    name: str
    max_error: float
    typical_error: float
    equal: float

    @property
    def passes(self) -> bool:
        """True when within the module's limits."""
        return self.max_error <= MAX_ERROR and self.typical_error <= TYPICAL_ERROR and self.equal >= MIN_AGREEMENT


def verify(runtime: Runtime, network: ExportedNetwork, frames: Sequence[np.ndarray]) -> list[Agreement]:
    """Compare a loaded graph with its source.

    Args:
        runtime: the graph.
        network: its source, in evaluation mode.
        frames: uint8 [H, W, 3] each, any size; at least one.

    Returns:
        One entry per output.

    Raises:
        ExportError: no frames, or an output differs by more than the module's limits.
    """
    if not frames:
        raise ExportError("verification: expected at least one frame, got none; pass real images")
    letterbox = Letterbox(network.input_size)
    report = _worst([_compare(runtime, network, letterbox.apply(frame)[0]) for frame in frames])
    if any(not entry.passes for entry in report):
        raise ExportError(
            f"the exported graph disagrees with PyTorch on {len(frames)} frames ({_shown(report)}); allowed are "
            f"{MAX_ERROR}, {TYPICAL_ERROR} and {MIN_AGREEMENT:.1%}. Nothing was written; check the versions of "
            "torch and onnxruntime"
        )
    return report


def verify_precision(
    runtime: Runtime, network: ExportedNetwork, frames: Sequence[np.ndarray], precision: str
) -> Parity:
    """Compare a loaded graph of reduced precision with its single-precision source.

    Args:
        runtime: the graph.
        network: its source, in evaluation mode.
        frames: uint8 [H, W, 3] each, any size; at least one.
        precision: of the graph; names the tolerance.

    Raises:
        ExportError: no frames, or the graph is out of tolerance.
    """
    if not frames:
        raise ExportError("verification: expected at least one frame, got none; pass real images")
    letterbox = Letterbox(network.input_size)
    images = [letterbox.apply(frame)[0] for frame in frames]
    parity = compare([runtime.infer(image) for image in images], [_reference(network, image) for image in images])
    violations = parity.violations(TOLERANCES[precision])
    if violations:
        raise ExportError(
            f"the graph in precision '{precision}' is too far from PyTorch on {len(frames)} frames "
            f"({'; '.join(violations)}). Nothing was written; export with precision 'mixed' or 'fp32'"
        )
    return parity


def verify_batches(runtime: OnnxRuntime, frames: Sequence[np.ndarray], max_batch: int) -> list[Agreement]:
    """Compare every batch size with one image at a time.

    Args:
        runtime: a graph that takes 1 to ``max_batch`` images.
        frames: uint8 [H, W, 3] each, any size; at least one, repeated where a batch needs more.
        max_batch: the largest batch.

    Returns:
        One entry per output, the worst of all batch sizes.

    Raises:
        ExportError: a batch gives other results than its images alone.
    """
    letterbox = Letterbox(runtime.input_size)
    images = [letterbox.apply(frames[i % len(frames)])[0] for i in range(max_batch)]
    alone = [runtime.infer(image, raw=True) for image in images]
    entries: list[list[Agreement]] = []
    for size in range(2, max_batch + 1):
        # The last images, so that the order within the batch differs from size to size.
        together = runtime.submit(np.stack(images[-size:]), raw=True).result()
        entries += [agreements(want, have) for want, have in zip(alone[-size:], together, strict=True)]
    report = _worst(entries)
    if any(not entry.passes for entry in report):
        raise ExportError(
            f"the exported graph gives other results for batches than for single images ({_shown(report)}); nothing "
            "was written: export with batch 1"
        )
    return report


def _compare(runtime: Runtime, network: ExportedNetwork, image: np.ndarray) -> list[Agreement]:
    want, have = _reference(network, image), runtime.infer(image, raw=True)
    return [
        replace(entry, equal=_equal_or_tied(entry.name, network, image, want, have))
        if entry.equal < MIN_AGREEMENT and entry.name in _DECISIONS
        else entry
        for entry in agreements(want, have)
    ]


_DECISIONS = ("semantic", "winning_query", "query_masks")


def _equal_or_tied(
    name: str, network: ExportedNetwork, image: np.ndarray, want: NetworkOutput, have: NetworkOutput
) -> float:
    """Share of a decision's values that are PyTorch's, or to PyTorch as good as its own."""
    assert want.mask_logits is not None
    if name == "query_masks":
        tied = (want.query_masks == have.query_masks) | (np.abs(want.mask_logits) <= TYPICAL_ERROR)
        return float(tied.mean())
    if name == "semantic":
        with torch.no_grad():
            scores = network.class_scores(torch.from_numpy(image)[None])[0].numpy()
    else:
        masks = torch.from_numpy(want.mask_logits).sigmoid().numpy()
        scores = want.class_probs[:, :-1].max(-1)[:, None, None] * masks
    chosen = np.take_along_axis(scores, getattr(have, name)[None].astype(np.intp), 0)[0]
    return float((scores.max(0) - chosen <= TYPICAL_ERROR).mean())


def _reference(network: ExportedNetwork, image: np.ndarray) -> NetworkOutput:
    specs = OUTPUTS + RAW_OUTPUTS + ((FULL_MASKS,) if network.full_masks else ())
    with torch.no_grad():
        tensors = network(torch.from_numpy(image)[None])
    return NetworkOutput(**{spec.name: t[0].numpy() for spec, t in zip(specs, tensors, strict=True)})


def agreements(want_all: NetworkOutput, have_all: NetworkOutput) -> list[Agreement]:
    """How far two answers to one frame agree, output by output; those that the first lacks are left out."""
    report = []
    for spec in (*OUTPUTS, *RAW_OUTPUTS, FULL_MASKS):
        want, have = getattr(want_all, spec.name), getattr(have_all, spec.name)
        if want is None:
            continue
        if spec.dtype == "float32":
            # NaN compares as an infinite error, so that it fails.
            unit = max(1.0, float(np.abs(want).max()))
            difference = np.nan_to_num(np.abs(want - have), nan=np.inf) / unit
            same = (want == 0) == (have == 0) if spec.name == "refined" else np.ones(want.shape, bool)
            errors = difference[same] if same.any() else difference
            typical = float(np.quantile(errors, 0.9))
            # Higher: an infinite error must not be interpolated away.
            largest = max(float(np.quantile(errors, 0.999, method="higher")), float(errors.max()) / RARE)
            report.append(Agreement(spec.name, largest, typical, float(same.mean())))
        else:
            report.append(Agreement(spec.name, 0.0, 0.0, float((want == have).mean())))
    return report


def _worst(per_frame: Sequence[list[Agreement]]) -> list[Agreement]:
    return [
        Agreement(
            entries[0].name,
            max(e.max_error for e in entries),
            max(e.typical_error for e in entries),
            min(e.equal for e in entries),
        )
        for entries in zip(*per_frame, strict=True)
    ]


def _shown(report: Sequence[Agreement]) -> str:
    return "; ".join(
        f"{e.name}: max error {e.max_error:.2g}, 90 % within {e.typical_error:.2g}, equal {e.equal:.4%}"
        for e in report
        if not e.passes
    )
