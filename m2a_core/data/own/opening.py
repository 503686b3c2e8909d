"""Opening own data: which format, where the classes are, and what training can take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from m2a_core.data.own import cityscapes, coco, cvat, folder, yolo
from m2a_core.data.own.frames import Listing, OwnDataset
from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.label_file import LabelFile, read_label_file

CLASSES = "classes.yaml"
MOST_CLASSES = 199
"""Ids above are kept for pixels that are one of several classes, see ``m2a_core.training.targets``."""

_RESERVED = {
    "void": "list its id under void",
    "unknown": "m2a uses this name for objects of no class: choose another",
}


class Format(NamedTuple):
    """One format of own data: what lists its frames, and how its files lie."""

    list_frames: Callable[[Path, LabelFile], Listing]
    layout: str


FORMATS: Mapping[str, Format] = {
    "folder": Format(folder.list_folder, folder.LAYOUT),
    "coco": Format(coco.list_coco, coco.LAYOUT),
    "cityscapes": Format(cityscapes.list_cityscapes, cityscapes.LAYOUT),
    "cvat": Format(cvat.list_cvat, cvat.LAYOUT),
    "yolo-seg": Format(yolo.list_yolo, yolo.LAYOUT),
}


def open_own(root: Path, kind: str, classes: str = CLASSES, beside: Path | None = None) -> OwnDataset:
    """List the frames of own data.

    Args:
        root: its folder.
        kind: one of `FORMATS`.
        classes: the file of the classes: in ``root``, else in ``beside``, else a path.
        beside: folder of the configuration.

    Raises:
        ConfigError: the classes cannot be read or do not fit the format.
        DataError: there is no such folder, or no frame in it.
    """
    if kind not in FORMATS:
        raise ConfigError(f"format '{kind}': expected one of {', '.join(FORMATS)}")
    list_frames, layout = FORMATS[kind]
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected\n{layout}")
    file = read_classes(root, classes, beside)
    listing = list_frames(root, file)
    listing.finish()
    if not listing.frames and not listing.problems:
        raise DataError(f"{root}: no frame of the format '{kind}' in it; expected\n{layout}")
    return OwnDataset(root, kind, file, listing)


def read_classes(root: Path, classes: str, beside: Path | None = None) -> LabelFile:
    """Read the classes; arguments and errors as `open_own`."""
    places = [root / classes, *([] if beside is None else [beside / classes])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            f"{' or '.join(map(str, places))}: no such file; expected the classes: "
            "classes: [{name: road, id: 0, color: [128, 64, 128], thing: false}, ...]"
        )
    file = read_label_file(path, path.resolve().parent.name if path.name == CLASSES else "")
    if file.labels.num_classes > MOST_CLASSES:
        raise ConfigError(f"{path}: {file.labels.num_classes} classes; expected at most {MOST_CLASSES}")
    for name in file.labels.names:
        if name.strip().casefold() in _RESERVED:
            raise ConfigError(f"{path}: a class is called '{name}'; {_RESERVED[name.strip().casefold()]}")
    return file
