"""The smallest network of m2a's kind: tests train, export and build it in seconds."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from m2a_core.labels.builtin import CAMVID11
from m2a_core.model import ModelConfig
from m2a_core.model.backbones import BACKBONES
from m2a_core.model.backbones.efficientnet_lite import SameConv


class TinyBackbone(nn.Module):
    """Five convolutions with batch norm; a folder of tests trains it in seconds."""

    channels = {"res2": 8, "res3": 8, "res4": 16, "res5": 16}

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, *self.channels.values())
        self.stem = SameConv(widths[0], widths[1], 3, 2)
        self.blocks = nn.ModuleList(SameConv(a, b, 3, 2) for a, b in itertools.pairwise(widths[1:]))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = {}
        x = self.stem(x)
        for name, block in zip(self.channels, self.blocks, strict=True):
            features[name] = x = block(x)
        return features


BACKBONES["tiny"] = TinyBackbone

TINY = ModelConfig(
    name="tiny",
    labels=CAMVID11,
    backbone="tiny",
    hidden_dim=32,
    num_heads=4,
    num_queries=12,
    encoder_levels=("res5", "res4"),
    encoder_layers=1,
    encoder_ffn=32,
    fpn_conv="separable",
    decoder_layers=2,
    decoder_ffn=32,
    mask_dim=16,
)
