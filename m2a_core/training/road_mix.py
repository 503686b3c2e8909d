"""Frames of several road data sets with the 19 classes of Cityscapes; coarser labels become sets of classes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.training.cityscapes_frames import packed_cityscapes_sources
from m2a_core.training.data_config import DataConfig
from m2a_core.training.datasets import FrameSource, LabelledImage, camvid_sources
from m2a_core.training.idd_lite import idd_lite_sources, idd_obstacle_sources
from m2a_core.training.targets import IGNORE

_CAMVID = {
    "sky": "sky",
    "building": 200,
    "pole": "pole",
    "road": "road",
    "pavement": "sidewalk",
    "tree": 202,
    "signsymbol": 201,
    "fence": "fence",
    "car": 203,
    "pedestrian": "person",
    "bicyclist": 204,
}
"""CamVid's class -> the class of Cityscapes, or the key of `targets.CLASS_SETS`."""


def camvid_table() -> np.ndarray:
    """Label of the 19 classes, or key of `CLASS_SETS`, per CamVid label: uint8 [256]."""
    table = np.full(256, IGNORE, np.uint8)
    for i, name in enumerate(CAMVID11.names):
        value = _CAMVID[name]
        table[i] = value if isinstance(value, int) else CITYSCAPES19.names.index(value)
    return table


def read_camvid(source: FrameSource) -> LabelledImage:
    """A CamVid frame with sets of the 19 classes. Its sets hide segments, so its labels are partial."""
    frame = source.read()
    return replace(frame, label=camvid_table()[frame.label], partial=True)


def mixed_sources(root: Path, data: DataConfig, mix: Mapping[str, float]) -> list[FrameSource]:
    """List the frames of one epoch.

    Args:
        root: the data root, with a folder per set: ``cityscapes_640``, ``camvid``, ``idd_lite``.
        data: for CamVid's splits and what is held apart.
        mix: set -> how often each of its frames comes in an epoch; below 1, every 1/share-th frame comes once.
            ``idd_obstacles`` are the frames of ``idd_lite`` with marked real obstacles.

    Raises:
        DataError: a set is missing or malformed, or has no frames.
    """
    readers: dict[str, Callable[[], list[FrameSource]]] = {
        "cityscapes_640": lambda: packed_cityscapes_sources(root / "cityscapes_640", "train"),
        "camvid": lambda: [
            FrameSource(source.name, functools.partial(read_camvid, source))
            for source in camvid_sources(root / "camvid", data.splits, data.held_apart)[0]
        ],
        "idd_lite": lambda: idd_lite_sources(root / "idd_lite"),
        "idd_obstacles": lambda: idd_obstacle_sources(root / "idd_lite"),
    }
    frames: list[FrameSource] = []
    for name, share in mix.items():
        found = readers[name]()
        if not found:
            raise DataError(f"{root}: no frames of '{name}' to train on")
        frames += found * round(share) if share >= 1 else found[:: round(1 / share)]
    return frames


def held_frames(root: Path) -> list[FrameSource]:
    """The frames of Cityscapes' cities that nothing is trained on; errors as `packed_cityscapes_sources`."""
    return packed_cityscapes_sources(root / "cityscapes_640", "val")
