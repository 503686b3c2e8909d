"""Backbones: modules with ``channels`` and a forward that gives ``res2`` .. ``res5`` at strides 4 .. 32."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from m2a_core.errors import ConfigError
from m2a_core.model.backbones.efficientnet_lite import LITE0, LITE2, EfficientNetLite
from m2a_core.model.backbones.resnet import RESNET_BLOCKS, ResNet
from m2a_core.model.backbones.swin import SWIN_B, SWIN_L, SWIN_S, SWIN_T, Swin
from m2a_core.model.backbones.timm_features import PREFIX, TimmBackbone

BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "efficientnet_lite0": lambda: EfficientNetLite(*LITE0),
    "efficientnet_lite2": lambda: EfficientNetLite(*LITE2),
    "resnet50": lambda: ResNet(RESNET_BLOCKS[50]),
    "resnet101": lambda: ResNet(RESNET_BLOCKS[101]),
    "swin_tiny": lambda: Swin(SWIN_T),
    "swin_small": lambda: Swin(SWIN_S),
    "swin_base": lambda: Swin(SWIN_B),
    "swin_large": lambda: Swin(SWIN_L),
}


def build_backbone(name: str) -> nn.Module:
    """Make a backbone with random weights.

    Args:
        name: as in `m2a_core.model.config.ModelConfig.backbone`.

    Returns:
        A module with ``channels: dict[str, int]``; forward gives a dict of features.

    Raises:
        ConfigError: no backbone of that name.
    """
    if name.startswith(PREFIX):
        return TimmBackbone(name.removeprefix(PREFIX))
    if name not in BACKBONES:
        raise ConfigError(f"backbone: no '{name}'; there are {', '.join(BACKBONES)} and {PREFIX}NAME")
    return BACKBONES[name]()
