"""Backbones of PyTorch Image Models (https://github.com/huggingface/pytorch-image-models), by their names there."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2a_core.errors import CheckpointError, ConfigError
from m2a_core.extras import install_command
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD

PREFIX = "timm/"
"""What a backbone's name in a configuration begins with."""
_LEVELS = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}


class TimmBackbone(nn.Module):
    """A feature extractor of timm.

    Attributes:
        name: timm's name of the model, e.g. ``convnext_tiny.fb_in22k_ft_in1k``.
        channels: channels of ``res2``..``res5`` (strides 4, 8, 16, 32).
        only_size: height and width of the images, where it takes no others.
    """

    input_scale: torch.Tensor
    input_shift: torch.Tensor

    def __init__(self, name: str) -> None:
        """Make the network with random weights.

        Args:
            name: timm's name of the model.

        Raises:
            ConfigError: timm is missing, knows no such model, or the model has no features at strides 4, 8, 16 and 32.
        """
        super().__init__()
        self.name = name
        found = _create(name)
        strides = found.feature_info.reduction()
        # The last of each stride is the deepest.
        self.indices = tuple(
            max(i for i, s in enumerate(strides) if s == stride) for stride in _LEVELS if stride in strides
        )
        if len(self.indices) < len(_LEVELS):
            raise ConfigError(
                f"backbone: '{PREFIX}{name}' has features at strides {', '.join(map(str, strides))}; expected a model "
                "with 4, 8, 16 and 32, such as ResNet, ConvNeXt or EfficientNet"
            )
        self.features = _create(name, out_indices=self.indices)
        self.channels = dict(zip(_LEVELS.values(), self.features.feature_info.channels(), strict=True))
        # Images come normalised with the mean and deviation of ImageNet; some models were trained with others.
        wanted = self.features.pretrained_cfg
        _, height, width = wanted["input_size"]
        self.only_size = (int(height), int(width)) if wanted.get("fixed_input_size") else None
        ours = [torch.tensor(v) / 255 for v in (IMAGENET_MEAN, IMAGENET_STD)]
        mean, std = (torch.tensor(wanted[key]) for key in ("mean", "std"))
        self.register_buffer("input_scale", (ours[1] / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("input_shift", ((ours[0] - mean) / std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Extract features.

        Args:
            image: float [B, 3, H, W], normalised with the mean and deviation of ImageNet.

        Returns:
            ``res2`` .. ``res5`` at strides 4, 8, 16, 32 with `channels` channels.

        Raises:
            ConfigError: the image is not of the only size that the model takes.
        """
        size = (int(image.shape[2]), int(image.shape[3]))
        if self.only_size not in (None, size):
            raise ConfigError(
                f"backbone: '{PREFIX}{self.name}' takes images of {_text(self.only_size)} alone, got {_text(size)}; "
                "choose one that takes any size, such as ResNet, ConvNeXt or EfficientNet"
            )
        maps = self.features(image * self.input_scale + self.input_shift)
        return {
            # Some transformers keep channels last.
            name: x if x.shape[1] == self.channels[name] else x.permute(0, 3, 1, 2).contiguous()
            for name, x in zip(_LEVELS.values(), maps, strict=True)
        }

    def load_pretrained(self, file: Path | None) -> None:
        """Take trained weights.

        Args:
            file: checkpoint with timm's names, safetensors or PyTorch; None: timm downloads its own.

        Raises:
            CheckpointError: the weights cannot be had or do not fit.
        """
        where = f"weights of {PREFIX}{self.name}" + (f" from {file}" if file else "")
        try:
            overlay = _overlay(file) if file else None
            trained = _create(self.name, out_indices=self.indices, pretrained=True, pretrained_cfg_overlay=overlay)
        # Whatever a hub, a proxy or a damaged file raises.
        except Exception as error:
            raise CheckpointError(
                f"{where}: {error}; give a file with backbone_weights where nothing can be downloaded"
            ) from error
        self.features.load_state_dict(trained.state_dict())


def _text(size: tuple[int, int] | None) -> str:
    return "any size" if size is None else f"{size[0]}x{size[1]}"


def _overlay(file: Path) -> dict[str, Any]:
    """What makes timm take the weights of a file, without running code from it: some of its releases unpickle files."""
    from timm.models import load_state_dict

    if file.suffix == ".npz":
        # For the models that read NumPy's archives themselves.
        return {"file": str(file)}
    try:
        # timm's own trainings keep their command line beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = load_state_dict(str(file), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        # Not in their own words, which advise to run the code.
        raise ValueError("holds more than tensors, or is damaged; save its state dict alone with torch.save") from error
    if not state:
        # timm would take no weights for none given, and download its own.
        raise ValueError("holds no tensors")
    return {"state_dict": state}


def _create(name: str, **options: Any) -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            f"backbone: '{PREFIX}{name}' needs timm ({error}): {install_command('timm')}, with the torchvision of your "
            "build of torch"
        ) from error
    try:
        return timm.create_model(name, features_only=True, **options)
    except (RuntimeError, TypeError, AttributeError, AssertionError, ValueError) as error:
        if options.get("pretrained"):
            raise
        raise ConfigError(f"backbone: timm makes no feature extractor '{name}' ({error})") from error
