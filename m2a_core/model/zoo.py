"""The networks by name."""

from __future__ import annotations

from dataclasses import replace

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19, STREETHAZARDS12
from m2a_core.labels.coco import COCO_PANOPTIC133, coco_known
from m2a_core.model.config import AttentionKind, ModelConfig

_EDGE = ModelConfig(
    name="m2a-edge",
    labels=CITYSCAPES19,
    backbone="efficientnet_lite0",
    hidden_dim=128,
    num_queries=50,
    encoder_levels=("res5", "res4"),
    encoder_layers=2,
    encoder_ffn=512,
    fpn_conv="separable",
    fpn_dim=64,
    decoder_layers=4,
    decoder_levels=2,
    decoder_ffn=512,
    mask_dim=64,
)

_BASE = ModelConfig(
    name="m2a-base",
    labels=CITYSCAPES19,
    backbone="efficientnet_lite2",
    num_queries=100,
    encoder_layers=3,
    decoder_layers=6,
    decoder_ffn=1024,
    freeze_backbone=False,
)

MODELS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        _EDGE,
        replace(_EDGE, name="edge-camvid", labels=CAMVID11),
        _BASE,
        ModelConfig(name="r50-cityscapes", labels=CITYSCAPES19),
        ModelConfig(name="r101-cityscapes", labels=CITYSCAPES19, backbone="resnet101"),
        ModelConfig(name="swint-cityscapes", labels=CITYSCAPES19, backbone="swin_tiny"),
        ModelConfig(name="swins-cityscapes", labels=CITYSCAPES19, backbone="swin_small"),
        ModelConfig(name="swinb-cityscapes", labels=CITYSCAPES19, backbone="swin_base"),
        ModelConfig(name="swinl-cityscapes", labels=CITYSCAPES19, backbone="swin_large"),
        ModelConfig(name="swinb-streethazards", labels=STREETHAZARDS12, backbone="swin_base", freeze_backbone=False),
        ModelConfig(name="r50-coco-panoptic", labels=COCO_PANOPTIC133),
        ModelConfig(name="r50-coco-panoptic-k05", labels=coco_known(5)),
        ModelConfig(name="r50-coco-panoptic-k10", labels=coco_known(10)),
        ModelConfig(name="r50-coco-panoptic-k20", labels=coco_known(20)),
    )
}


def named_config(name: str, attention: AttentionKind | None = None) -> ModelConfig:
    """A configuration of the zoo.

    Args:
        name: its name.
        attention: another kind of attention than its own (Tables 5c, 8), or None.

    Raises:
        ConfigError: no such model.
    """
    if name not in MODELS:
        raise ConfigError(f"model '{name}': expected one of {', '.join(MODELS)}")
    return replace(MODELS[name], attention=attention or MODELS[name].attention)
