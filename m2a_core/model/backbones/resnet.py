"""ResNet backbone, bottleneck form with the stride in the 3x3 convolution.

Paper: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385. The
stride sits in the 3x3 convolution, as in torchvision and in detectron2 with ``STRIDE_IN_1X1: False``
(https://github.com/facebookresearch/detectron2), which is what Mask2Former and Mask2Anomaly train.
"""

from __future__ import annotations

import torch
from torch import nn

RESNET_BLOCKS: dict[int, tuple[int, int, int, int]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Bottleneck blocks of res2..res5, by depth."""

EXPANSION = 4
"""Channels leaving a bottleneck per channel inside it."""


class Shortcut(nn.Module):
    """1x1 convolution and norm that fit a block's input to its output."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Build the projection ``in_channels -> out_channels``."""
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, h, w] -> [B, out, h/stride, w/stride]."""
        out: torch.Tensor = self.norm(self.conv(x))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided) and 1x1 convolutions around a residual connection."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        """Build a block of ``width`` inner and ``4 * width`` outer channels."""
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        needs_projection = in_channels != out_channels or stride != 1
        self.shortcut = Shortcut(in_channels, out_channels, stride) if needs_projection else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, h, w] -> [B, 4 * width, h/stride, w/stride]."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        activated: torch.Tensor = self.relu(out + self.shortcut(x))
        return activated


class Stem(nn.Module):
    """7x7 convolution and 3x3 max pooling: stride 4."""

    def __init__(self, channels: int) -> None:
        """Build the stem ``3 -> channels``."""
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, channels, H/4, W/4]."""
        out: torch.Tensor = self.pool(self.relu(self.norm(self.conv(image))))
        return out


class ResNet(nn.Module):
    """ResNet feature extractor.

    Attributes:
        channels: channels of ``res2``..``res5`` (strides 4, 8, 16, 32).
    """

    def __init__(self, blocks: tuple[int, int, int, int] = RESNET_BLOCKS[50], stem_channels: int = 64) -> None:
        """Build the backbone.

        Args:
            blocks: bottleneck blocks of res2..res5; ``RESNET_BLOCKS`` has those of ResNet-50 and -101.
            stem_channels: channels of the stem and inner channels of res2; doubled from stage to stage.
        """
        super().__init__()
        self.stem = Stem(stem_channels)
        self.channels: dict[str, int] = {}
        in_channels = stem_channels
        for index, depth in enumerate(blocks):
            width = stem_channels * 2**index
            strides = [1 if index == 0 else 2] + [1] * (depth - 1)
            stage = nn.Sequential()
            for stride in strides:
                stage.append(Bottleneck(in_channels, width, stride))
                in_channels = EXPANSION * width
            name = f"res{index + 2}"
            self.add_module(name, stage)
            self.channels[name] = in_channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Extract features.

        Args:
            image: float [B, 3, H, W], normalised.

        Returns:
            ``res2``..``res5``, [B, channels, H/stride, W/stride] with strides 4, 8, 16, 32 (rounded up).
        """
        x = self.stem(image)
        features = {}
        for name in self.channels:
            x = self.get_submodule(name)(x)
            features[name] = x
        return features
