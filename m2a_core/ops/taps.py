"""Where deformable attention reads and with what weight, and the way back from a weight's gradient.

Shape legend: B batch, S keys, N heads, L levels, P points, R = B * S * N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column step of a sample's four neighbours."""


class Taps(NamedTuple):
    """Rows that each (batch, query, head) sums.

    Attributes:
        rows: int32 or, where that is too small, int64 [R, L*P*4], into the value flattened to [B*S*N, D]; a neighbour
            outside its level names some valid row.
        weights: float [R, L*P*4]; 0 for a neighbour outside its level.
        inside: bool [B, S, N, L, P, 4].
        fx: float [B, S, N, L, P], the sample's distance from its left neighbours, in cells.
        fy: the same from its upper ones.
        attention: float [B, S, N, L, P], summing to 1 over L * P.
    """

    rows: torch.Tensor
    weights: torch.Tensor
    inside: torch.Tensor
    fx: torch.Tensor
    fy: torch.Tensor
    attention: torch.Tensor


def split_projection(
    projection: torch.Tensor, heads: int, levels: int, points: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Offsets and attention weights of a raw projection.

    Args:
        projection: float [B, S, 3*N*L*P], offsets [N, L, P, 2] and then attention logits [N, L*P].
        heads: N.
        levels: L.
        points: P.

    Returns:
        float [B, S, N, L, P, 2], x then y, in cells of the level sampled; float [B, S, N, L, P], softmax over L * P.
    """
    batch, keys = projection.shape[:2]
    split = 2 * heads * levels * points
    offsets = projection[..., :split].reshape(batch, keys, heads, levels, points, 2)
    logits = projection[..., split:].reshape(batch, keys, heads, levels * points)
    return offsets, logits.softmax(-1).view(batch, keys, heads, levels, points)


def bilinear_taps(
    projection: torch.Tensor, heads: int, shapes: Sequence[tuple[int, int]], points: int, reference: torch.Tensor
) -> Taps:
    """Turn a raw projection into neighbours and weights.

    Args:
        projection: float [B, S, 3*N*L*P].
        heads: N.
        shapes: (height, width) of each level.
        points: P.
        reference: float [S, 2], x and y of every key in (0, 1).

    Returns:
        The taps. A sample at a place that is not a number counts as outside.
    """
    batch, keys = projection.shape[:2]
    device, dtype = projection.device, projection.dtype
    offsets, attention = split_projection(projection, heads, len(shapes), points)
    counts = [h * w for h, w in shapes]
    # Half the bytes to write, sort and read again.
    index = torch.int32 if 4 * attention.numel() < 2**31 else torch.int64
    start = torch.tensor([sum(counts[:i]) for i in range(len(counts))], dtype=index, device=device).view(-1, 1)
    height, width = (torch.tensor(side, dtype=index, device=device).view(-1, 1) for side in zip(*shapes, strict=True))

    place = reference.view(keys, 2, 1, 1, 1)
    # Far-away points must not overflow the integer conversion, and NaN has no integer: both stay outside, weight 0.
    x = (place[:, 0] * width.to(dtype) - 0.5 + offsets[..., 0]).nan_to_num_(nan=-2.0)
    y = (place[:, 1] * height.to(dtype) - 0.5 + offsets[..., 1]).nan_to_num_(nan=-2.0)
    x, y = x.clamp_(min=-2).minimum(width.to(dtype)), y.clamp_(min=-2).minimum(height.to(dtype))
    x0, y0 = x.floor(), y.floor()
    fx, fy = x.sub_(x0), y.sub_(y0)
    column, row = x0.to(index), y0.to(index)

    head = torch.arange(heads, dtype=index, device=device).view(1, 1, heads, 1, 1)
    first = (torch.arange(batch, dtype=index, device=device).view(batch, 1, 1, 1, 1) * keys + start) * heads + head
    across = {0: (1 - fx) * attention, 1: fx * attention}
    along = {0: 1 - fy, 1: fy}
    columns = {d: (column + d, (column >= -d) & (column < width - d)) for d in (0, 1)}
    rows = {d: ((row + d) * width, (row >= -d) & (row < height - d)) for d in (0, 1)}
    indices, weights, inside = [], [], []
    for dy, dx in CORNERS:
        hit = rows[dy][1] & columns[dx][1]
        inside.append(hit)
        weights.append((across[dx] * along[dy]).masked_fill_(~hit, 0))
        indices.append((rows[dy][0] + columns[dx][0]).masked_fill_(~hit, 0).mul_(heads).add_(first))
    bags = batch * keys * heads
    return Taps(
        torch.stack(indices, -1).view(bags, -1),
        torch.stack(weights, -1).view(bags, -1),
        torch.stack(inside, -1),
        fx,
        fy,
        attention,
    )


def projection_gradient(taps: Taps, grad_weights: torch.Tensor) -> torch.Tensor:
    """Gradient of the raw projection, given that of the taps' weights.

    Args:
        taps: of `bilinear_taps`.
        grad_weights: float, as many as ``taps.weights``.

    Returns:
        float [B, S, 3*N*L*P].
    """
    batch, keys = taps.fx.shape[:2]
    outer = grad_weights.view(taps.inside.shape).masked_fill(~taps.inside, 0)
    top_left, top_right, low_left, low_right = outer.unbind(-1)
    top = top_right - top_left
    low = low_right - low_left
    left = low_left - top_left
    # Value of the sample's upper edge at fx, and the rise from there to its lower edge: bilinear interpolation of the
    # neighbours' gradients and its two slopes.
    rise = torch.lerp(left, low_right - top_right, taps.fx)
    grad_attention = torch.addcmul(top_left, top, taps.fx).addcmul_(rise, taps.fy)
    grad_x = torch.lerp(top, low, taps.fy) * taps.attention
    grad_y = rise * taps.attention
    weighted = grad_attention * taps.attention
    grad_logits = weighted - taps.attention * weighted.sum((-2, -1), keepdim=True)
    offsets = torch.stack((grad_x, grad_y), -1).view(batch, keys, -1)
    return torch.cat((offsets, grad_logits.view(batch, keys, -1)), -1)
