"""The data of a run by its configuration: frames to train on and to validate with, and objects to paste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from m2a_core.data.own.frames import OwnDataset
from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19, STREETHAZARDS12
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.annotated import annotated_sources
from m2a_core.training.coco_sets import coco_panoptic_sources, load_coco_cutouts
from m2a_core.training.data_config import DataConfig
from m2a_core.training.datasets import Cutout, FramesOnDisk, FrameSource, LabelledImage, camvid_sources, load_cutouts
from m2a_core.training.own import own_sources
from m2a_core.training.road_mix import held_frames, mixed_sources
from m2a_core.training.road_sets import cityscapes_sources, streethazards_sources
from m2a_core.training.validation import VOID_CLASS

_LABELS = {"camvid": CAMVID11, "roads": CITYSCAPES19, "cityscapes": CITYSCAPES19, "streethazards": STREETHAZARDS12}
_GROUND = ("road", "road line", "pavement", "sidewalk", "pavement-merged")


@dataclass(frozen=True)
class Sources:
    """Frames that can be read.

    Attributes:
        train: frames to train on.
        held: frames to validate with.
        own: by the position of a stage, the frames of stages that have their own.
        in_memory: they are few and small enough to be held in memory.
    """

    train: list[FrameSource]
    held: list[FrameSource]
    in_memory: bool
    own: dict[int, list[FrameSource]] = field(default_factory=dict)

    @property
    def of_stages_alone(self) -> list[FrameSource]:
        """Frames of stages with their own that are not in ``train``, each once."""
        known = {source.name for source in self.train}
        return list({s.name: s for frames in self.own.values() for s in frames if s.name not in known}.values())

    def open(self, frames: Sequence[FrameSource]) -> Sequence[LabelledImage]:
        """Some of the frames, read now or when they are asked for."""
        return [source.read() for source in frames] if self.in_memory else FramesOnDisk(frames)


def fits(labels: LabelSet, dataset: str) -> bool:
    """Whether a network's classes are those of a data set; COCO's may lack those of a K-split; own ones always."""
    if dataset == "own":
        return True
    if dataset == "coco_panoptic":
        return labels.name.startswith("coco_panoptic")
    return labels == _LABELS[dataset]


def open_sources(
    data: DataConfig,
    root: Path,
    labels: LabelSet,
    mixes: Mapping[int, Mapping[str, float]] | None = None,
    own_data: OwnDataset | None = None,
) -> Sources:
    """List the frames of a run.

    Args:
        data: which data set, and where in ``root``.
        root: the data root.
        labels: the classes of the network.
        mixes: by the position of a stage, its own `DataConfig.mix`.
        own_data: the frames of ``own``.

    Raises:
        DataError: a list or a folder is missing or malformed, or nothing is left to train on or to validate with (own
            data may do without the latter).
    """
    folder = root / (data.root or data.dataset)
    own: dict[int, list[FrameSource]] = {}
    match data.dataset:
        case "own":
            assert own_data is not None
            train, held = own_sources(own_data)
        case "roads":
            train, held = mixed_sources(root, data, data.mix), held_frames(root)
            own = {stage: mixed_sources(root, data, mix) for stage, mix in (mixes or {}).items()}
        case "camvid":
            train, held = camvid_sources(folder, data.splits, data.held_apart)
        case "cityscapes":
            train, held = cityscapes_sources(folder, "train"), cityscapes_sources(folder, "val")
        case "streethazards":
            train, held = streethazards_sources(folder, "training"), streethazards_sources(folder, "validation")
        case _:
            train, held = (coco_panoptic_sources(folder, split, labels) for split in ("train2017", "val2017"))
    if not train or not (held or data.dataset == "own"):
        raise DataError(
            f"{folder}: {len(train)} frames to train on and {len(held)} held apart; both need at least "
            "one: check data.splits and data.held_apart"
        )
    more = [source for name, n in data.annotated.items() for source in annotated_sources(root / name, labels) * n]
    own = {stage: frames + more for stage, frames in own.items()}
    return Sources(train + more, held, data.dataset == "camvid", own)


def open_outliers(data: DataConfig, root: Path, config_dir: Path) -> tuple[list[Cutout], list[Cutout]]:
    """Read the objects to paste.

    Args:
        data: where they are.
        root: the data root.
        config_dir: folder that ``data.validation_kinds`` is relative to.

    Returns:
        Objects to train on and others to validate with.

    Raises:
        DataError: files are missing or malformed, one side is left empty, or no cut-out is of a kind to favour.
    """
    outliers = data.outliers
    if outliers.source == "none":
        return [], []
    folder = root / outliers.root
    if outliers.source == "coco":
        return load_coco_cutouts(
            folder / outliers.images, folder / outliers.annotations, outliers.count, outliers.exclude, outliers.subset
        )
    apart = outliers.held or (config_dir / data.validation_kinds if data.validation_kinds else None)
    seen, unseen = load_cutouts(folder, apart, *(root / more for more in outliers.more_roots))
    strange = sorted(outliers.favour.keys() - {cutout.kind for cutout in (*seen, *unseen)})
    if strange:
        raise DataError(f"{folder}: data.outliers.favour: no cut-out is of kind '{strange[0]}'")
    if outliers.limit:
        order = np.random.default_rng([outliers.subset, 0x0B1E]).permutation(len(seen))
        seen = [seen[i] for i in sorted(order[: outliers.limit])]
    return seen, unseen


def ground_ids(labels: LabelSet) -> tuple[int, ...]:
    """Ids of the classes that objects stand on."""
    return tuple(i for i, name in enumerate(labels.names) if name in _GROUND or i == labels.road)


def with_void(labels: LabelSet) -> LabelSet:
    """A label set with void as one more class, for the Void-train baseline of Table 4."""
    return replace(
        labels,
        name=f"{labels.name}_void",
        names=(*labels.names, VOID_CLASS),
        colors=(*labels.colors, (0, 0, 0)),
    )
