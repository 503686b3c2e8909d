"""Swin Transformer backbone.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
https://arxiv.org/abs/2103.14030. Follows the dense-prediction form that Mask2Former uses: maps are padded right and
bottom to whole windows after the first norm of every block, windows are shifted at any map size, and every stage has an
output norm of its own. Shape legend: B batch, h w map size, C channels, N tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

REGION_PENALTY = -100.0
"""Added to attention between tokens that the cyclic shift brought together; finite, as in the original."""


@dataclass(frozen=True)
class SwinConfig:
    """Size of a Swin Transformer.

    Attributes:
        embed_dim: channels of the first stage; doubled from stage to stage.
        depths: blocks of each stage, even.
        heads: attention heads of each stage.
        window: side of a window in tokens.
        drop_path: chance of dropping a residual branch in the last block; grows linearly from 0 in the first.
    """

    embed_dim: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int
    drop_path: float = 0.3


SWIN_T = SwinConfig(96, (2, 2, 6, 2), (3, 6, 12, 24), 7)
SWIN_S = SwinConfig(96, (2, 2, 18, 2), (3, 6, 12, 24), 7)
SWIN_B = SwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32), 12)
SWIN_L = SwinConfig(192, (2, 2, 18, 2), (6, 12, 24, 48), 12)


def split_windows(x: torch.Tensor, window: int) -> torch.Tensor:
    """[B, h, w, C] with h and w multiples of ``window`` -> [B, h/window * w/window, window * window, C]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // window, window, w // window, window, c).transpose(2, 3)
    return x.reshape(b, (h // window) * (w // window), window * window, c)


def join_windows(windows: torch.Tensor, window: int, h: int, w: int) -> torch.Tensor:
    """Inverse of ``split_windows`` for a map of h x w."""
    b, _, _, c = windows.shape
    x = windows.reshape(b, h // window, w // window, window, window, c).transpose(2, 3)
    return x.reshape(b, h, w, c)


def relative_position_index(window: int) -> torch.Tensor:
    """Row of the bias table for every pair of tokens of a window: int64 [N, N], values 0..(2*window-1)^2 - 1."""
    axis = torch.arange(window)
    rows, columns = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    row_offset = rows[:, None] - rows[None, :] + window - 1
    column_offset = columns[:, None] - columns[None, :] + window - 1
    return row_offset * (2 * window - 1) + column_offset


def shift_mask(h: int, w: int, window: int, shift: int, like: torch.Tensor) -> torch.Tensor:
    """Attention penalty of shifted windows.

    Args:
        h: rows, a multiple of ``window``.
        w: columns, a multiple of ``window``.
        window: side of a window.
        shift: cyclic shift in tokens, 1..window-1.
        like: tensor whose dtype and device the result takes.

    Returns:
        [h/window * w/window, N, N], 0 between tokens of one region, ``REGION_PENALTY`` across regions.
    """
    row_region, column_region = (
        (torch.arange(n, device=like.device) >= n - window).long()
        + (torch.arange(n, device=like.device) >= n - shift).long()
        for n in (h, w)
    )
    region = row_region[:, None] * 3 + column_region[None, :]
    region = split_windows(region[None, :, :, None], window)[0, :, :, 0]
    apart = region[:, :, None] != region[:, None, :]
    return apart.to(like.dtype) * REGION_PENALTY


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias by relative position."""

    relative_index: torch.Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        """Build attention of ``heads`` heads over ``window`` x ``window`` tokens of ``dim`` channels."""
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_index", relative_position_index(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend.

        Args:
            x: [B, windows, N, C].
            mask: [windows, N, N], added to the attention logits, or None.

        Returns:
            [B, windows, N, C].
        """
        b, windows, n, c = x.shape
        qkv = self.qkv(x).reshape(b, windows, n, 3, self.heads, c // self.heads).permute(3, 0, 1, 4, 2, 5)
        q, k, v = qkv[0] * self.scale, qkv[1], qkv[2]
        bias = self.bias_table[self.relative_index.flatten()].reshape(n, n, self.heads).permute(2, 0, 1)
        logits = q @ k.transpose(-2, -1) + bias
        if mask is not None:
            logits = logits + mask[None, :, None]
        out = (logits.softmax(-1) @ v).transpose(2, 3).reshape(b, windows, n, c)
        projected: torch.Tensor = self.projection(out)
        return projected


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for whole samples in training (https://arxiv.org/abs/1603.09382)."""

    def __init__(self, chance: float) -> None:
        """Drop with ``chance`` in [0, 1)."""
        super().__init__()
        self.chance = chance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, ...] -> [B, ...], kept samples scaled to keep the mean."""
        if not self.training or self.chance == 0.0:
            return x
        keep = 1.0 - self.chance
        kept = torch.empty((x.shape[0], *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * kept / keep


class SwinBlock(nn.Module):
    """Window attention and a two-layer perceptron, each after a norm and around a residual connection."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        """Build a block; ``shift`` 0 for plain windows."""
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, h, w, C] -> [B, h, w, C]."""
        x = x + self.drop_path(self._attend(self.norm1(x)))
        out: torch.Tensor = x + self.drop_path(self.contract(F.gelu(self.expand(self.norm2(x)))))
        return out

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[1:3]
        padded_h, padded_w = h + -h % self.window, w + -w % self.window
        x = F.pad(x, (0, 0, 0, padded_w - w, 0, padded_h - h))
        mask = None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(padded_h, padded_w, self.window, self.shift, like=x)
        x = self.attention(split_windows(x, self.window), mask)
        x = join_windows(x, self.window, padded_h, padded_w)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), dims=(1, 2))
        return x[:, :h, :w]


class PatchMerging(nn.Module):
    """Halves the map: 2x2 neighbours side by side in channels, norm, linear ``4C -> 2C``."""

    def __init__(self, dim: int) -> None:
        """Build the merge of a map with ``dim`` channels."""
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduce = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, h, w, C] -> [B, ceil(h/2), ceil(w/2), 2C]; odd sizes are padded with zeros."""
        h, w = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)
        out: torch.Tensor = self.reduce(self.norm(x))
        return out


class PatchEmbedding(nn.Module):
    """4x4 patches to tokens."""

    def __init__(self, dim: int) -> None:
        """Build the embedding ``3 -> dim``."""
        super().__init__()
        self.conv = nn.Conv2d(3, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, ceil(H/4), ceil(W/4), dim]; the image is padded with zeros to whole patches."""
        h, w = image.shape[2:]
        image = F.pad(image, (0, -w % 4, 0, -h % 4))
        out: torch.Tensor = self.norm(self.conv(image).permute(0, 2, 3, 1))
        return out


class Swin(nn.Module):
    """Swin Transformer feature extractor.

    Attributes:
        channels: channels of ``res2``..``res5`` (strides 4, 8, 16, 32).
    """

    def __init__(self, config: SwinConfig) -> None:
        """Build the backbone."""
        super().__init__()
        self.patch_embed = PatchEmbedding(config.embed_dim)
        self.channels = {f"res{i + 2}": config.embed_dim * 2**i for i in range(len(config.depths))}
        chances = iter(torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    SwinBlock(dim, heads, config.window, (config.window // 2) * (i % 2), next(chances))
                    for i in range(depth)
                )
            )
            for dim, depth, heads in zip(self.channels.values(), config.depths, config.heads, strict=True)
        )
        dims = list(self.channels.values())
        self.merges = nn.ModuleList(PatchMerging(dim) for dim in dims[:-1])
        self.output_norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name, dim in self.channels.items()})
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Extract features.

        Args:
            image: float [B, 3, H, W], normalised.

        Returns:
            ``res2``..``res5``, [B, channels, H/stride, W/stride] with strides 4, 8, 16, 32 (rounded up).
        """
        x = self.patch_embed(image)
        features = {}
        for index, (name, norm) in enumerate(self.output_norms.items()):
            if index > 0:
                x = self.merges[index - 1](x)
            x = self.stages[index](x)
            features[name] = norm(x).permute(0, 3, 1, 2).contiguous()
        return features
