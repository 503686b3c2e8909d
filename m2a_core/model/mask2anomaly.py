"""Mask2Anomaly: backbone, pixel decoder, transformer decoder with global masked attention.

Rai et al., "Mask2Anomaly: Mask Transformer for Universal Open-set Segmentation", TPAMI 2024.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from m2a_core.errors import ConfigError
from m2a_core.model.backbones import build_backbone
from m2a_core.model.config import ModelConfig
from m2a_core.model.pixel_decoder import PixelDecoder
from m2a_core.model.transformer_decoder import Prediction, TransformerDecoder


class ModelOutput(NamedTuple):
    """What the network predicts.

    Attributes:
        class_logits: float [B, Q, K+1], C of Eq. 3; the last class is "no object".
        mask_logits: float [B, Q, H/4, W/4], M of Eq. 3 before the sigmoid.
        aux: predictions of the learned queries and of every layer but the last; empty in evaluation.
        mask_features: float [B, mask_dim, H/4, W/4], the per-pixel embeddings.
    """

    class_logits: torch.Tensor
    mask_logits: torch.Tensor
    aux: list[Prediction]
    mask_features: torch.Tensor


class Mask2Anomaly(nn.Module):
    """The network."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the network with random weights."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone)
        channels: dict[str, int] = self.backbone.channels  # type: ignore[assignment]
        self.pixel_decoder = PixelDecoder(config, channels)
        self.transformer_decoder = TransformerDecoder(config)
        if config.freeze_backbone:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Mask2Anomaly:
        """Set the mode; a frozen backbone keeps its batch statistics."""
        super().train(mode)
        if self.config.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, image: torch.Tensor, all_layers: bool | None = None) -> ModelOutput:
        """Predict.

        Args:
            image: float [B, 3, H, W], RGB, normalised with the ImageNet mean and deviation; H and W multiples of 32.
            all_layers: fill ``aux``; by default in training only.

        Returns:
            The predictions.

        Raises:
            ConfigError: H or W is not a multiple of 32.
        """
        height, width = int(image.shape[-2]), int(image.shape[-1])
        if height % 32 or width % 32:
            raise ConfigError(f"image: height and width must be multiples of 32 (pad it), got {height}x{width}")
        return self.decode(self.backbone(image), all_layers)

    def decode(self, features: dict[str, torch.Tensor], all_layers: bool | None = None) -> ModelOutput:
        """Predict from the backbone's features; arguments and result otherwise as `forward`."""
        pixels = self.pixel_decoder(features)
        *aux, (class_logits, mask_logits) = self.transformer_decoder(
            pixels, self.training if all_layers is None else all_layers
        )
        return ModelOutput(class_logits, mask_logits, aux, pixels.mask_features)


def build_model(config: ModelConfig) -> Mask2Anomaly:
    """Make the network of a configuration, with random weights."""
    return Mask2Anomaly(config)
