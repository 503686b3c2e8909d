"""Sampling of mask logits and of label maps at points (Mask2Former Sec. 3.3, PointRend Sec. 3.1).

Points are x, y in [0, 1] of the crop, the same for logits at stride 4 and labels at full size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform_points(count: int, like: Tensor) -> Tensor:
    """Random points [count, 2] in [0, 1], of the dtype and on the device of ``like``."""
    return torch.rand(count, 2, dtype=like.dtype, device=like.device)


def sample_logits(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of maps (``align_corners=False``, zero outside, as detectron2's ``point_sample``).

    Args:
        maps: float [N, C, h, w].
        points: float [N, P, 2], x and y in [0, 1].

    Returns:
        float [N, C, P].
    """
    return F.grid_sample(maps, 2.0 * points.unsqueeze(2) - 1.0, align_corners=False).squeeze(3)


def segment_planes(segments: Tensor, num_segments: int, dtype: torch.dtype, void_counts: bool = False) -> Tensor:
    """One mask per segment beside the mask of void pixels, for `sample_planes`.

    Args:
        segments: int64 [H, W], segment id in 0..N-1, or -1 where void.
        num_segments: N.
        dtype: of the masks, that of the points to sample them at.
        void_counts: void pixels are outside of every mask instead of unknown.

    Returns:
        float [N, 2, H, W].
    """
    own = segments == torch.arange(num_segments, device=segments.device).view(-1, 1, 1)
    void = torch.zeros_like(segments, dtype=torch.bool) if void_counts else segments < 0
    return torch.stack([own, void.expand_as(own)], 1).to(dtype)


def sample_planes(planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear samples of masks, and how much of each point is labelled.

    Outside the map every mask is zero but the point counts, as with zero padding of the masks.

    Args:
        planes: float [N, 2, H, W], of `segment_planes`.
        points: float [N, P, 2], x and y in [0, 1].

    Returns:
        targets float [N, P] renormalised to the labelled share, and that share float [N, P] in [0, 1]: 0 = void.
    """
    own, void = sample_logits(planes, points).unbind(1)
    weight = (1.0 - void).clamp(0.0, 1.0)
    return (own / weight.clamp(min=1e-6)).clamp(max=1.0), weight


def is_void(segments: Tensor, points: Tensor) -> Tensor:
    """Whether the pixel under each point [P, 2] of a segment map [H, W] is void."""
    height, width = segments.shape
    x, y = (points * points.new_tensor([width, height])).long().unbind(-1)
    return segments[y.clamp(max=height - 1), x.clamp(max=width - 1)] < 0
