"""Frames in which only some objects are annotated, as COCO's instances: all else is void, not background."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.data.base import shown_files
from m2a_core.data.coco import is_crowd
from m2a_core.errors import MALFORMED, ConfigError, DataError, shown
from m2a_core.files import read_json, relative_path
from m2a_core.images import read_image
from m2a_core.labels.coco_masks import segmentation_mask
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

_LAYOUT = "expected annotations/NAME.json (COCO instances) and images/.../FILE, as `m2a harvest export` and CVAT write"
_IMAGES = ("images/default", "images", "data", ".")


def annotated_sources(root: Path, labels: LabelSet) -> list[FrameSource]:
    """List the frames of a folder.

    Args:
        root: with one JSON file in ``annotations`` and the images that it names below ``images``.
        labels: the classes; categories go by name.

    Raises:
        ConfigError: a category is no class.
        DataError: the folder or the JSON is malformed, or an image is missing.
    """
    files = shown_files(root / "annotations", "*.json")
    if len(files) != 1:
        raise DataError(f"{root}: {len(files)} files in annotations; {_LAYOUT}")
    content = read_json(files[0])
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        objects: dict[int, list[Mapping[str, Any]]] = {int(entry["id"]): [] for entry in content["images"]}
        for annotation in content["annotations"]:
            objects[int(annotation["image_id"])].append(annotation)
        absent = sorted({names[int(a["category_id"])] for found in objects.values() for a in found} - {*labels.names})
        images = [(int(entry["id"]), relative_path(entry["file_name"], files[0])) for entry in content["images"]]
    except MALFORMED as error:
        raise DataError(f"{files[0]}: no COCO instances ({shown(error)}); {_LAYOUT}") from error
    if absent:
        raise ConfigError(
            f"{files[0]}: '{absent[0]}' is not a class of {labels.name}; add it to the classes that are trained, or "
            "take the folder out of data.annotated"
        )
    ids = {category: labels.names.index(name) for category, name in names.items() if name in labels.names}
    sources = []
    for number, file in images:
        path = _image(root, file, files[0])
        read = functools.partial(_read, path, objects[number], ids, labels, files[0])
        sources.append(FrameSource(f"{root.name}/{Path(file).stem}", read))
    return sources


def _image(root: Path, file: str, source: Path) -> Path:
    for folder in _IMAGES:
        path = root / folder / file
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            return path
    raise DataError(f"{source}: its image {file} is not below {root}; {_LAYOUT}")


def _read(
    path: Path, objects: Sequence[Mapping[str, Any]], ids: Mapping[int, int], labels: LabelSet, source: Path
) -> LabelledImage:
    image = read_image(path)
    size = (image.shape[0], image.shape[1])
    label = np.full(size, IGNORE, np.uint8)
    instances = np.zeros(size, np.int32)
    for number, entry in enumerate(objects, start=1):
        where = f"{source}: annotation {entry.get('id', number)}"
        inside = segmentation_mask(entry.get("segmentation"), size, where) > 0
        class_id = ids[int(entry["category_id"])]
        label[inside] = class_id
        instances[inside] = number if class_id in labels.things and not is_crowd(entry, where) else 0
    return LabelledImage(path.stem, path.parent.name, image, label, partial=True, instances=instances)
