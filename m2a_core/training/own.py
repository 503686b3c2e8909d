"""Own data in training: frames, and what a configuration has to do without."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from m2a_core.data.own.frames import OwnDataset, OwnFrame
from m2a_core.data.own.opening import open_own
from m2a_core.errors import DataError
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

if TYPE_CHECKING:
    from m2a_core.training.config import StageConfig, TrainConfig

WITHOUT_OUTLIERS = (
    "no outliers: the network learns your classes and never sees an unknown object. What is unknown then shows only as "
    "what no class claims: more unknown objects are missed, more known ones are marked, and nothing of it is measured "
    "during training. Cut-outs with alpha in ROOT/outliers fix that (docs/own_data.md)"
)


def open_own_data(config: TrainConfig, data_root: Path, config_dir: Path) -> OwnDataset | None:
    """The own data of a configuration, whole; None where it trains on another data set.

    Raises:
        ConfigError: the classes cannot be read or do not fit.
        DataError: there are no frames to train on, or some are malformed.
    """
    data = config.data
    if data.dataset != "own":
        return None
    dataset = open_own(data_root / data.root, data.format, data.classes, config_dir)
    dataset.require_whole()
    if not dataset.split("train"):
        raise DataError(
            f"{dataset.root}: no frames of the split 'train' to train on; `m2a data split` makes one, by sequence"
        )
    return dataset


def own_sources(dataset: OwnDataset) -> tuple[list[FrameSource], list[FrameSource]]:
    """The frames to train on and to validate with; the latter may be none."""
    train, held = (
        [FrameSource(frame.name, functools.partial(_read, frame)) for frame in dataset.split(split)]
        for split in ("train", "val")
    )
    return train, held


def _read(frame: OwnFrame) -> LabelledImage:
    image, truth = frame.read()
    # In a map that nobody labelled, a query without a partner is not "no object".
    partial = frame.has_map and bool((truth.label == IGNORE).all())
    return LabelledImage(frame.name, frame.sequence, image, truth.label, partial, truth.instances)


def fitted(config: TrainConfig, data_root: Path, dataset: OwnDataset) -> tuple[TrainConfig, list[str]]:
    """A configuration without what the data cannot give.

    Args:
        config: the run.
        data_root: folder that ``data.outliers.root`` is relative to.
        dataset: its data.

    Returns:
        The configuration that can run, and what one should know of it, a sentence each.
    """
    outliers, notes = config.data.outliers, [*dataset.listing.notes]
    if outliers.source == "auto":
        there = (data_root / outliers.root / "train.csv").is_file()
        outliers = replace(outliers, source="cutouts" if there else "none")
    stages = config.stages
    if outliers.source == "none":
        notes.append(WITHOUT_OUTLIERS)
        stages, dropped = _without_outliers(stages)
        if dropped:
            notes.append(f"left out without outliers: stage {', '.join(dropped)}")
    if not dataset.split("val"):
        notes.append("val is empty: nothing is measured during training")
    return replace(config, stages=stages, data=replace(config.data, outliers=outliers)), notes


def _without_outliers(stages: Sequence[StageConfig]) -> tuple[tuple[StageConfig, ...], list[str]]:
    """Stages that need none: those of outliers are left out, unless there is no other."""
    needy = [stage.name for stage in stages if stage.loss.contrastive != "none"]
    kept = [stage for stage in stages if stage.name not in needy] or list(stages)
    calm = tuple(replace(s, outlier_prob=0.0, loss=replace(s.loss, contrastive="none")) for s in kept)
    return calm, needy if len(kept) < len(stages) else []


def shortened(config: TrainConfig, steps: int) -> TrainConfig:
    """A configuration whose stages have at most so many steps, for a first try."""
    stages = tuple(
        replace(stage, iterations=min(steps, stage.iterations), warmup=min(stage.warmup, steps // 5))
        for stage in config.stages
    )
    return replace(config, stages=stages)


def class_names(dataset: OwnDataset) -> list[list[str]]:
    """Per class, the names that another network may know it by: its own and those it is made from."""
    return [
        [name, *(source for source in sources if isinstance(source, str))]
        for name, sources in zip(dataset.file.labels.names, dataset.file.sources, strict=True)
    ]
