"""Configuration of a Mask2Anomaly network: one frozen dataclass serves every size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from m2a_core.errors import ConfigError
from m2a_core.labels.label_set import LabelSet

AttentionKind = Literal["cross", "masked", "global_masked"]


@dataclass(frozen=True)
class ModelConfig:
    """One network.

    Attributes:
        name: name in the zoo.
        labels: the known classes.
        backbone: ``efficientnet_lite{0,2}``, ``resnet50``, ``resnet101``, ``swin_{tiny,small,base,large}``, or
            ``timm/NAME`` (`m2a_core.model.backbones.timm_features`).
        hidden_dim: channels of pixel decoder and queries, a multiple of 32 (group norm) and of ``num_heads``.
        num_heads: attention heads everywhere.
        num_queries: Q.
        encoder_levels: backbone features that the deformable encoder sees, coarse to fine; the rest joins by FPN.
        encoder_layers: deformable encoder layers.
        encoder_ffn: width of their feed-forward networks.
        encoder_points: sampling points per head and level.
        fpn_conv: ``full`` 3x3 convolutions as in Mask2Former, or ``separable`` for small computers.
        fpn_dim: channels of the FPN's levels, a multiple of 32; None: ``hidden_dim``. Those levels are then the masks'
            alone: the transformer decoder sees the encoder's.
        decoder_layers: transformer decoder layers, each seeing one level, coarse to fine, in turn.
        decoder_levels: levels that the decoder sees.
        decoder_ffn: width of its feed-forward networks.
        attention: ``global_masked`` (Eq. 10), ``masked`` (Eq. 8) or ``cross``.
        mask_dim: channels of the per-pixel embeddings.
        freeze_backbone: training leaves the backbone as it was loaded.

    Raises:
        ConfigError: a dimension does not divide as needed.
    """

    name: str
    labels: LabelSet
    backbone: str = "resnet50"
    hidden_dim: int = 256
    num_heads: int = 8
    num_queries: int = 100
    encoder_levels: tuple[str, ...] = ("res5", "res4", "res3")
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    encoder_points: int = 4
    fpn_conv: Literal["full", "separable"] = "full"
    fpn_dim: int | None = None
    decoder_layers: int = 9
    decoder_levels: int = 3
    decoder_ffn: int = 2048
    attention: AttentionKind = "global_masked"
    mask_dim: int = 256
    freeze_backbone: bool = True

    def __post_init__(self) -> None:
        """Validate."""
        if self.hidden_dim % 32 or self.hidden_dim % self.num_heads:
            raise ConfigError(
                f"model '{self.name}': hidden_dim must be a multiple of 32 and of num_heads={self.num_heads}, "
                f"got {self.hidden_dim}"
            )
        if not 1 <= self.decoder_levels <= 3:
            raise ConfigError(f"model '{self.name}': decoder_levels must be 1..3, got {self.decoder_levels}")
        if self.fpn_dim is not None and (self.fpn_dim % 32 or self.decoder_levels > len(self.encoder_levels)):
            raise ConfigError(
                f"model '{self.name}': fpn_dim must be a multiple of 32 and decoder_levels at most the "
                f"{len(self.encoder_levels)} encoder_levels with it, got {self.fpn_dim} and {self.decoder_levels}"
            )
