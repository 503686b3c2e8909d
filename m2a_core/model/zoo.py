"""The networks by name."""

from __future__ import annotations

from m2a_core.labels import CAMVID11, CITYSCAPES19
from m2a_core.model.config import ModelConfig

MODELS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        ModelConfig(
            name="m2a-edge",
            labels=CAMVID11,
            backbone="efficientnet_lite0",
            hidden_dim=128,
            num_queries=50,
            encoder_levels=("res5", "res4"),
            encoder_layers=3,
            encoder_ffn=512,
            fpn_conv="separable",
            decoder_layers=4,
            decoder_ffn=512,
            mask_dim=128,
        ),
        ModelConfig(name="r50-cityscapes", labels=CITYSCAPES19),
    )
}
