"""Sampling of mask logits and of label maps at points (Mask2Former Sec. 3.3, PointRend Sec. 3.1).

Points are x, y in [0, 1] of the crop, the same for logits at stride 4 and labels at full size. Ground-truth masks are
never materialised: a segment map holds one id per pixel and the bilinear sample of every mask at a point follows from
the four ids around it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_logits(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of maps (``align_corners=False``, zero outside, as detectron2's ``point_sample``).

    Args:
        maps: float [N, C, h, w].
        points: float [N, P, 2], x and y in [0, 1].

    Returns:
        float [N, C, P].
    """
    return F.grid_sample(maps, 2.0 * points.unsqueeze(2) - 1.0, align_corners=False).squeeze(3)


def _corners(segments: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Ids [..., 4] and bilinear weights [..., 4] of the four pixels around points [..., 2]; -2 outside the map."""
    height, width = segments.shape
    padded = F.pad(segments, (1, 1, 1, 1), value=-2).flatten()
    xy = points * points.new_tensor([width, height]) - 0.5
    base = xy.floor()
    fx, fy = (xy - base).unbind(-1)
    x, y = (base[..., 0] + 1).long().clamp(0, width), (base[..., 1] + 1).long().clamp(0, height)
    row = width + 2
    index = y * row + x
    ids = padded[torch.stack([index, index + 1, index + row, index + row + 1], -1)]
    return ids, torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], -1)


def sample_segments(segments: Tensor, ids: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear samples of masks of a segment map, and how much of each point is labelled.

    Outside the map every mask is zero but the point counts, as with zero padding of the masks.

    Args:
        segments: int64 [H, W], segment id in 0..N-1, or -1 where void.
        ids: int64 broadcastable to [...]: which segment each point asks for.
        points: float [..., 2], x and y in [0, 1].

    Returns:
        targets float [...] renormalised to the labelled share, and that share float [...] in [0, 1]: 0 = void.
    """
    found, share = _corners(segments, points)
    weight = (1.0 - (share * (found == -1)).sum(-1)).clamp(0.0, 1.0)
    return (share * (found == ids.unsqueeze(-1))).sum(-1) / weight.clamp(min=1e-6), weight


def is_void(segments: Tensor, points: Tensor) -> Tensor:
    """Whether the pixel under each point [..., 2] of a segment map [H, W] is void."""
    height, width = segments.shape
    x, y = (points * points.new_tensor([width, height])).long().unbind(-1)
    return (segments.flatten() < 0)[y.clamp(max=height - 1) * width + x.clamp(max=width - 1)]
