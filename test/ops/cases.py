"""The case table of the deformable-attention kernels: one list for the host build, the GPU and every type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

POINTS = 4
LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class Case:
    """One problem of random inputs.

    `change` edits value [B, S, N, D], offsets [B, S, N, L, P, 2] and logits [B, S, N, LP] in place.
    """

    name: str
    shapes: tuple[tuple[int, int], ...]
    heads: int = 8
    dim: int = 32
    batch: int = 1
    spread: float = 2.0
    change: Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None = None
    differentiable: bool = True

    def inputs(self, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """Value and projection as the type holds them."""
        rng = np.random.default_rng(sum(self.name.encode()))
        keys, samples = sum(h * w for h, w in self.shapes), len(self.shapes) * POINTS
        value = rng.standard_normal((self.batch, keys, self.heads, self.dim))
        offsets = self.spread * rng.standard_normal((self.batch, keys, self.heads, len(self.shapes), POINTS, 2))
        logits = 2 * rng.standard_normal((self.batch, keys, self.heads, samples))
        if self.change:
            self.change(value, offsets, logits)
        flat = [x.reshape(self.batch, keys, int(np.prod(x.shape[2:]))) for x in (offsets, logits)]
        with np.errstate(over="ignore"):
            return value.astype(dtype), np.concatenate(flat, -1).astype(dtype)


def _half_cells(value, offsets, logits):
    offsets[...] = np.round(2 * offsets) / 2


def _far(value, offsets, logits):
    offsets[...] = np.sign(offsets) * (50 + np.abs(offsets))


def _huge(value, offsets, logits):
    flat = offsets.reshape(-1)
    for start, extreme in enumerate((1e30, -1e30, np.inf, -np.inf, np.nan, LARGEST_HALF, -LARGEST_HALF)):
        flat[start::11] = extreme


def _half_range(value, offsets, logits):
    value[...] = np.where(value > 0, LARGEST_HALF, -LARGEST_HALF)
    logits[..., ::3] = 60000
    logits[..., 1::3] = -60000


def _subnormal(value, offsets, logits):
    value *= 1e-7


def _nan_value(value, offsets, logits):
    value[:, 5, 1] = np.nan
    value[:, 11, 2, 3] = np.inf


def _nan_logits(value, offsets, logits):
    logits[:, 0] = np.nan
    logits[:, 1, :, 2] = np.nan
    logits[:, 2] = np.inf
    logits[:, 3] = -np.inf
    logits[:, 4, :, 1] = -np.inf
    offsets[:, 0] = 1000  # a head of which no sample is inside keeps its NaN


CASES = (
    Case("r50 pyramid", ((4, 8), (2, 4), (1, 2))),
    Case("edge pyramid", ((6, 8), (3, 4)), dim=16),
    Case("four levels", ((4, 5), (3, 5), (2, 2), (1, 2)), heads=2, batch=2),
    Case("borders and cell centres", ((4, 4), (2, 8)), heads=2, change=_half_cells, spread=3, differentiable=False),
    Case("one-pixel levels", ((1, 1), (1, 1), (1, 1), (1, 1)), spread=0.7),
    Case("one key", ((1, 1),), heads=1, dim=16),
    Case("odd sizes", ((7, 5), (3, 1), (1, 9)), heads=3),
    Case("odd heads of sixteen", ((5, 3), (1, 2)), heads=5, dim=16),
    Case("many heads", ((3, 3),), heads=19),
    Case("wide level", ((1, 1025),), heads=1, dim=16),
    Case("outside points", ((5, 6), (3, 3)), heads=2, change=_far),
    Case("empty level", ((0, 3), (2, 2)), heads=2),
    Case("empty", ((0, 0),)),
    Case("no images", ((2, 2),), batch=0),
    Case("huge offsets", ((4, 4), (2, 3)), heads=4, change=_huge, differentiable=False),
    Case("fp16 range", ((4, 4), (2, 2)), heads=2, change=_half_range, differentiable=False),
    Case("fp16 subnormals", ((4, 4), (2, 2)), heads=2, change=_subnormal),
    Case("NaN and infinity in value", ((4, 8),), heads=4, change=_nan_value, differentiable=False),
    Case("NaN and infinity in logits", ((4, 4), (2, 2)), heads=2, change=_nan_logits, differentiable=False),
)


def tolerance(want: np.ndarray, value: np.ndarray, shapes: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Largest error allowed: the result's own rounding, and FP32 arithmetic on values and places of this size.

    Args:
        want: exact result.
        value: as given to the kernel; its type is the result's.
        shapes: of the levels; FP32 knows a place at cell 1000 to a ten-thousandth of a cell.
    """
    finite = np.abs(value[np.isfinite(value)].astype(np.float64))
    scale = finite.max(initial=0.0)
    arithmetic = scale * (5e-6 + 2.5e-7 * max(side for shape in shapes for side in shape))
    if value.dtype == np.float16:
        exponent = np.floor(np.log2(np.abs(np.nan_to_num(want)).clip(2.0**-14, LARGEST_HALF)))
        return 2.0 ** (exponent - 11) + arithmetic
    return np.full(want.shape, arithmetic)
