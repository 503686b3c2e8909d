"""Is the exported graph the network? Both look at real frames and must say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from m2a_core.errors import ExportError
from m2a_core.export.io_spec import OUTPUTS, RAW_OUTPUTS
from m2a_core.export.network import ExportedNetwork
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Runtime

MAX_ERROR = 5e-3
"""Largest difference of a float output anywhere. Masks gate the attention, so rounding can flip single cells."""

TYPICAL_ERROR = 3e-4
"""Difference that 90 % of a float output's values stay within."""

MIN_AGREEMENT = 0.999
"""Share of equal values of a discrete output (class ids, winning queries, masks)."""


@dataclass(frozen=True)
class Agreement:
    """How one output compares over all frames.

    Attributes:
        name: of the output.
        max_error: largest absolute difference; 0 for discrete outputs.
        typical_error: 90th percentile of the absolute differences, the worst frame's; 0 for discrete outputs.
        equal: share of equal values, the worst frame's; 1 for float outputs but ``refined``, whose zeros are a mask:
            there it is the share of pixels hidden in both or in neither, and the errors are those of these pixels.
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
    per_frame = [_compare(runtime, network, letterbox.apply(frame)[0]) for frame in frames]
    report = [
        Agreement(
            entries[0].name,
            max(e.max_error for e in entries),
            max(e.typical_error for e in entries),
            min(e.equal for e in entries),
        )
        for entries in zip(*per_frame, strict=True)
    ]
    failed = [entry for entry in report if not entry.passes]
    if failed:
        shown = "; ".join(
            f"{e.name}: max error {e.max_error:.2g}, 90 % within {e.typical_error:.2g}, equal {e.equal:.4%}"
            for e in failed
        )
        raise ExportError(
            f"the exported graph disagrees with PyTorch on {len(frames)} frames ({shown}); allowed are {MAX_ERROR}, "
            f"{TYPICAL_ERROR} and {MIN_AGREEMENT:.1%}. Nothing was written; check the versions of torch and onnxruntime"
        )
    return report


def _compare(runtime: Runtime, network: ExportedNetwork, image: np.ndarray) -> list[Agreement]:
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None])
    got = runtime.infer(image, raw=True)
    report = []
    for spec, tensor in zip(OUTPUTS + RAW_OUTPUTS, expected, strict=True):
        want, have = tensor[0].numpy(), getattr(got, spec.name)
        if spec.dtype == "float32":
            # NaN compares as an infinite error, so that it fails.
            difference = np.nan_to_num(np.abs(want - have), nan=np.inf)
            same = (want == 0) == (have == 0) if spec.name == "refined" else np.ones(want.shape, bool)
            errors = difference[same] if same.any() else difference
            typical = float(np.quantile(errors, 0.9))
            report.append(Agreement(spec.name, float(errors.max()), typical, float(same.mean())))
        else:
            report.append(Agreement(spec.name, 0.0, 0.0, float((want == have).mean())))
    return report
