"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, Eq. 3).

Shape legend: B batch, S keys of all levels together, N heads, D channels a head, T queries, L levels, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

Shapes = Sequence[tuple[int, int]]


def ms_deform_attn(
    value: torch.Tensor, spatial_shapes: Shapes, sampling_locations: torch.Tensor, attention_weights: torch.Tensor
) -> torch.Tensor:
    """Sum bilinear samples of every level, weighted; samples outside a level are zero.

    Each sample is a weighted sum of four rows of ``value``, so the whole operator is one ``embedding_bag``: no
    intermediate of the size of all samples, forward or backward.

    Args:
        value: float [B, S, N, D], rows of level 0 first, each level row-major.
        spatial_shapes: (height, width) of each level, S = sum of height * width.
        sampling_locations: float [B, T, N, L, P, 2], x then y, in [0, 1] inside a level (pixel centre of column c of
            a level of width w: (c + 0.5) / w).
        attention_weights: float [B, T, N, L, P], summing to 1 over L * P.

    Returns:
        float [B, T, N * D].
    """
    if torch.compiler.is_exporting():
        # ONNX has no embedding bag; GridSample is its own operator there, which runtimes have kernels for.
        return ms_deform_attn_grid_sample(value, spatial_shapes, sampling_locations, attention_weights)
    batch, keys, heads, dim = value.shape
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    indices, weights = bilinear_taps(spatial_shapes, keys, sampling_locations, attention_weights)
    sampled = F.embedding_bag(
        indices.reshape(batch * queries * heads, -1),
        value.reshape(batch * keys * heads, dim),
        per_sample_weights=weights.reshape(batch * queries * heads, -1),
        mode="sum",
    )
    assert indices.shape[-1] == 4 * len(spatial_shapes) * points
    return sampled.view(batch, queries, heads * dim)


def bilinear_taps(
    spatial_shapes: Shapes, keys: int, sampling_locations: torch.Tensor, attention_weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the flattened value [B*S*N, D] that each (batch, query, head) sums, and their weights.

    Args:
        spatial_shapes: (height, width) of each level.
        keys: S.
        sampling_locations: float [B, T, N, L, P, 2].
        attention_weights: float [B, T, N, L, P].

    Returns:
        int64 and float [B, T, N, 4*L*P]; a tap outside its level has weight 0 and points to a valid row.
    """
    batch, _, heads = sampling_locations.shape[:3]
    device, dtype = sampling_locations.device, sampling_locations.dtype
    size_yx = torch.tensor(spatial_shapes, device=device)
    counts = [h * w for h, w in spatial_shapes]
    start = torch.tensor([sum(counts[:i]) for i in range(len(counts))], device=device).view(-1, 1)
    width, height = size_yx[:, 1].view(-1, 1), size_yx[:, 0].view(-1, 1)

    x = sampling_locations[..., 0] * width.to(dtype) - 0.5
    y = sampling_locations[..., 1] * height.to(dtype) - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    # Far-away points must not overflow the integer conversion; clamped ones stay outside and keep weight 0.
    x0 = torch.minimum(x0.clamp(min=-2), width.to(dtype)).long()
    y0 = torch.minimum(y0.clamp(min=-2), height.to(dtype)).long()

    head = torch.arange(heads, device=device).view(1, 1, heads, 1, 1)
    image = torch.arange(batch, device=device).view(batch, 1, 1, 1, 1)
    indices, weights = [], []
    for dy in (0, 1):
        for dx in (0, 1):
            xi, yi = x0 + dx, y0 + dy
            inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
            tap = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * attention_weights
            weights.append(torch.where(inside, tap, torch.zeros_like(tap)))
            row = start + torch.where(inside, yi * width + xi, torch.zeros_like(xi))
            indices.append((image * keys + row) * heads + head)
    return torch.stack(indices, -1).flatten(3), torch.stack(weights, -1).flatten(3)


def ms_deform_attn_grid_sample(
    value: torch.Tensor, spatial_shapes: Shapes, sampling_locations: torch.Tensor, attention_weights: torch.Tensor
) -> torch.Tensor:
    """The same operator as a composition of ``grid_sample``: the portable body of the exported graph.

    Arguments and result as `ms_deform_attn`.
    """
    batch, _, heads, dim = value.shape
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    grids = (2 * sampling_locations - 1).transpose(1, 2).flatten(0, 1)
    sampled = []
    start = 0
    for level, (h, w) in enumerate(spatial_shapes):
        rows = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(batch * heads, dim, h, w)
        start += h * w
        sampled.append(
            F.grid_sample(rows, grids[:, :, level], mode="bilinear", padding_mode="zeros", align_corners=False)
        )
    weights = attention_weights.transpose(1, 2).reshape(batch * heads, 1, queries, len(spatial_shapes) * points)
    out = (torch.stack(sampled, dim=-2).flatten(-2) * weights).sum(-1)
    return out.view(batch, heads * dim, queries).transpose(1, 2)
