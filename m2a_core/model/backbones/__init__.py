"""Backbones: modules with ``channels`` and a forward that gives ``res2`` .. ``res5`` at strides 4 .. 32."""

from __future__ import annotations

from torch import nn

from m2a_core.errors import ConfigError
from m2a_core.model.backbones.efficientnet_lite import EfficientNetLite0


def build_backbone(name: str) -> nn.Module:
    """Make a backbone with random weights.

    Args:
        name: as in `m2a_core.model.config.ModelConfig.backbone`.

    Returns:
        A module with ``channels: dict[str, int]``; forward gives a dict of features.

    Raises:
        ConfigError: no backbone of that name.
    """
    match name:
        case "efficientnet_lite0":
            return EfficientNetLite0()
        case _:
            raise ConfigError(f"backbone: no '{name}'; there is efficientnet_lite0")
