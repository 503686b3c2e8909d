"""Sine position embedding of image features (Carion et al., DETR, ECCV 2020)."""

from __future__ import annotations

import math

import torch


def sine_position(height: int, width: int, channels: int, like: torch.Tensor) -> torch.Tensor:
    """Normalised 2-D sine embedding.

    Args:
        height: rows of the feature map.
        width: columns.
        channels: channels of the result, a multiple of 4; the first half encodes y.
        like: tensor whose dtype and device the result takes.

    Returns:
        float [1, channels, height, width].
    """
    half = channels // 2
    scale = 2 * math.pi
    dtype, device = like.dtype, like.device
    y = torch.arange(1, height + 1, dtype=dtype, device=device) / (height + 1e-6) * scale
    x = torch.arange(1, width + 1, dtype=dtype, device=device) / (width + 1e-6) * scale
    step = torch.arange(half, dtype=dtype, device=device)
    period = 10000 ** (2 * torch.div(step, 2, rounding_mode="floor") / half)

    def encode(position: torch.Tensor) -> torch.Tensor:
        angle = position[:, None] / period
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    rows = encode(y).t()[:, :, None].expand(half, height, width)
    columns = encode(x).t()[:, None, :].expand(half, height, width)
    return torch.cat((rows, columns))[None]
