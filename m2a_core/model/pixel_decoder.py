"""MSDeformAttn pixel decoder (Cheng et al., Mask2Former, CVPR 2022): multi-scale features and per-pixel embeddings."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from m2a_core.model.config import ModelConfig
from m2a_core.model.position import sine_position
from m2a_core.ops.deform_attn import Shapes, ms_deform_attn

FEATURES = ("res2", "res3", "res4", "res5")


class PixelFeatures(NamedTuple):
    """What the pixel decoder gives.

    Attributes:
        mask_features: float [B, mask_dim, H/4, W/4], the per-pixel embeddings.
        levels: float [B, hidden_dim, h_i, w_i], coarse to fine.
    """

    mask_features: torch.Tensor
    levels: list[torch.Tensor]


class DeformableAttention(nn.Module):
    """Projections around `ms_deform_attn`."""

    def __init__(self, dim: int, heads: int, levels: int, points: int) -> None:
        """Make the projections, initialised so that heads look in different directions (Deformable DETR, App. A.4)."""
        super().__init__()
        self.heads, self.points = heads, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        angle = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().max(-1, keepdim=True).values
        reach = torch.arange(1, points + 1).view(1, 1, points, 1)
        bias = direction.view(heads, 1, 1, 2) * reach.expand(1, levels, points, 1)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias = nn.Parameter(bias.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, query: torch.Tensor, source: torch.Tensor, shapes: Shapes) -> torch.Tensor:
        """Attend.

        Args:
            query: float [B, S, dim], one for every cell of every level.
            source: float [B, S, dim].
            shapes: (height, width) of each level.

        Returns:
            float [B, S, dim].
        """
        value = self.value_proj(source).unflatten(-1, (self.heads, -1))
        # One product for both: the operator takes offsets and logits side by side.
        weight = torch.cat((self.sampling_offsets.weight, self.attention_weights.weight))
        bias = torch.cat((self.sampling_offsets.bias, self.attention_weights.bias))
        attended: torch.Tensor = self.output_proj(
            ms_deform_attn(value, F.linear(query, weight, bias), shapes, self.points)
        )
        return attended


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward network; post-norm."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the layer."""
        super().__init__()
        dim = config.hidden_dim
        self.attention = DeformableAttention(dim, config.num_heads, len(config.encoder_levels), config.encoder_points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, config.encoder_ffn)
        self.linear2 = nn.Linear(config.encoder_ffn, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, source: torch.Tensor, position: torch.Tensor, shapes: Shapes) -> torch.Tensor:
        """Apply the layer to float [B, S, dim]."""
        source = self.norm1(source + self.attention(source + position, source, shapes))
        normed: torch.Tensor = self.norm2(source + self.linear2(F.relu(self.linear1(source))))
        return normed


class FpnConv(nn.Module):
    """3x3 convolution, group norm, ReLU; or its depthwise-separable form."""

    def __init__(self, dim: int, separable: bool) -> None:
        """Make the convolution."""
        super().__init__()
        if separable:
            self.depthwise: nn.Module = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
            self.conv = nn.Conv2d(dim, dim, 1, bias=False)
        else:
            self.depthwise = nn.Identity()
            self.conv = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(32, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float [B, dim, h, w]."""
        return F.relu(self.norm(self.conv(self.depthwise(x))))


def _projection(channels: int, dim: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, dim, 1, bias=bias), nn.GroupNorm(32, dim))


class PixelDecoder(nn.Module):
    """Deformable encoder over the coarse levels, FPN down to stride 4."""

    def __init__(self, config: ModelConfig, channels: dict[str, int]) -> None:
        """Make the decoder.

        Args:
            config: the network's configuration.
            channels: channels of the backbone's features, by name.
        """
        super().__init__()
        dim = config.hidden_dim
        self.dim = dim
        self.encoder_levels = config.encoder_levels
        self.fpn_levels = [name for name in reversed(FEATURES) if name not in config.encoder_levels]
        self.decoder_levels = config.decoder_levels
        self.input_proj = nn.ModuleList(_projection(channels[name], dim, bias=True) for name in self.encoder_levels)
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)  # type: ignore[index]
            nn.init.zeros_(projection[0].bias)  # type: ignore[index]
        self.level_embed = nn.Parameter(torch.randn(len(self.encoder_levels), dim))
        self.layers = nn.ModuleList(DeformableEncoderLayer(config) for _ in range(config.encoder_layers))
        fine = config.fpn_dim or dim
        self.reduce = nn.Identity() if fine == dim else nn.Conv2d(dim, fine, 1)
        self.lateral = nn.ModuleList(_projection(channels[name], fine, bias=False) for name in self.fpn_levels)
        self.output = nn.ModuleList(FpnConv(fine, config.fpn_conv == "separable") for _ in self.fpn_levels)
        self.mask_features = nn.Conv2d(fine, config.mask_dim, 1)

    def forward(self, features: dict[str, torch.Tensor]) -> PixelFeatures:
        """Decode.

        Args:
            features: ``res2`` .. ``res5``, float [B, C_i, H/s_i, W/s_i].

        Returns:
            The per-pixel embeddings and the levels for the transformer decoder.
        """
        projected = [p(features[name]) for p, name in zip(self.input_proj, self.encoder_levels, strict=True)]
        shapes = [(int(x.shape[2]), int(x.shape[3])) for x in projected]
        source = torch.cat([x.flatten(2).transpose(1, 2) for x in projected], 1)
        position = torch.cat(
            [
                sine_position(h, w, self.dim, source).flatten(2).transpose(1, 2) + self.level_embed[i]
                for i, (h, w) in enumerate(shapes)
            ],
            1,
        )
        for layer in self.layers:
            source = layer(source, position, shapes)

        out = []
        for rows, (h, w) in zip(source.split([h * w for h, w in shapes], 1), shapes, strict=True):
            out.append(rows.transpose(1, 2).reshape(rows.shape[0], self.dim, h, w))
        coarse = self.reduce(out[-1])
        for lateral, output, name in zip(self.lateral, self.output, self.fpn_levels, strict=True):
            fine = lateral(features[name])
            fine = fine + F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            coarse = output(fine)
            out.append(coarse)
        return PixelFeatures(self.mask_features(coarse), out[: self.decoder_levels])
