"""What the arguments of ``m2a::ms_deform_attn`` must be, whichever implementation takes them.

Shape legend: B batch, S keys of all levels together, N heads, D channels a head, L levels, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def checked_shapes(
    value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
) -> list[tuple[int, int]]:
    """Check the operator's arguments against each other.

    Args:
        value: float [B, S, N, D].
        projection: of the same type, [B, S, 3NLP].
        spatial_shapes: height and width of each level in a row, S = sum of height * width.
        points: P.

    Returns:
        Levels as pairs.

    Raises:
        ValueError: the shapes, types or devices do not fit each other.
    """
    shapes = list(zip(spatial_shapes[::2], spatial_shapes[1::2], strict=True))
    if value.dim() != 4 or projection.dim() != 3 or points < 1 or not shapes:
        raise ValueError(
            f"ms_deform_attn: expected value [B, S, N, D], projection [B, S, 3NLP], at least one level and one point; "
            f"got {tuple(value.shape)}, {tuple(projection.shape)}, levels {shapes}, {points} points"
        )
    keys = sum(h * w for h, w in shapes)
    expected = (value.shape[0], keys, 3 * value.shape[2] * len(shapes) * points)
    if value.shape[1] != keys or tuple(projection.shape) != expected:
        raise ValueError(
            f"ms_deform_attn: levels {shapes} have {keys} keys, so projection must be {expected}; got value "
            f"{tuple(value.shape)} and projection {tuple(projection.shape)}"
        )
    if value.dtype != projection.dtype or not value.dtype.is_floating_point:
        raise ValueError(f"ms_deform_attn: value is {value.dtype}, projection {projection.dtype}; give both one type")
    if value.device != projection.device:
        raise ValueError(
            f"ms_deform_attn: value is on {value.device}, projection on {projection.device}; put both on one device"
        )
    return shapes
