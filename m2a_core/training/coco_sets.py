"""COCO for training: panoptic frames with instances, and objects cut out of frames with instance masks."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.data.coco import (
    PanopticFrame,
    field,
    files_by_id,
    is_crowd,
    looked_up,
    names_by_id,
    panoptic_frames,
    read_annotations,
)
from m2a_core.errors import DataError, shown
from m2a_core.images import read_image
from m2a_core.labels.coco import COCO_PANOPTIC133
from m2a_core.labels.coco_masks import segmentation_mask
from m2a_core.labels.label_set import LabelSet
from m2a_core.labels.panoptic_png import read_segment_ids
from m2a_core.training.datasets import Cutout, FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

MIN_OBJECT = 1024
"""Smallest area in pixels of an object that is cut out: 32 x 32, COCO's border of small objects."""


def coco_panoptic_sources(root: Path, split: str, labels: LabelSet) -> list[FrameSource]:
    """List COCO's panoptic frames; categories that the label set lacks (those a K-split removed) are void.

    Args:
        root: the data set's folder.
        split: ``train2017`` or ``val2017``.
        labels: the known classes, by COCO's names.

    Raises:
        DataError: annotations, masks or images are missing or malformed.
    """
    ids = {name: i for i, name in enumerate(labels.names)}
    frames = panoptic_frames(root, split)
    strange = sorted({s.class_name for f in frames for s in f.segments} - {*ids, *COCO_PANOPTIC133.names})
    if strange:
        raise DataError(
            f"{root}: categories {', '.join(strange[:8])} are none of COCO's 133 panoptic ones by name, and none of "
            f"the network's '{labels.name}'; they would be trained as void"
        )
    return [FrameSource(f.mask.stem, functools.partial(_panoptic, f, ids, labels)) for f in frames]


def _panoptic(frame: PanopticFrame, ids: Mapping[str, int], labels: LabelSet) -> LabelledImage:
    # A crowd is a region of several things that were not told apart: no instance can be learnt from it.
    classes_of = {s.id: IGNORE if s.crowd else ids.get(s.class_name, IGNORE) for s in frame.segments}
    image, stored = read_image(frame.image), read_segment_ids(frame.mask, classes_of.keys())
    if stored.shape != image.shape[:2]:
        raise DataError(f"{frame.mask}: mask is {list(stored.shape)}, its image {list(image.shape[:2])}")
    found, inverse = np.unique(stored, return_inverse=True)
    classes = np.array([classes_of.get(int(v), IGNORE) for v in found], np.uint8)
    things = np.isin(classes, sorted(labels.things))
    numbers = np.where(things, np.arange(1, len(found) + 1), 0).astype(np.int32)
    inverse = inverse.reshape(stored.shape)
    return LabelledImage(frame.mask.stem, "coco", image, classes[inverse], instances=numbers[inverse])


def load_coco_cutouts(
    images: Path, annotations: Path, count: int, exclude: Iterable[str], seed: int
) -> tuple[list[Cutout], list[Cutout]]:
    """Cut one object out of each of some images of COCO's layout (AnomalyMix, Sec. 4.3).

    Args:
        images: folder of the images.
        annotations: instance annotations: polygons or run lengths, compressed or not; crowds are left out.
        count: images for training, drawn at random; a tenth of it (at least one) comes on top for validation.
        exclude: names of categories that are known classes.
        seed: of the draw: the same seed takes the same objects.

    Returns:
        Cut-outs to train on, and those of other images to validate with; a cut-out's kind is its category.

    Raises:
        DataError: a file is missing or malformed, a category to exclude does not exist, or too few images have an
            object of at least 32 x 32 pixels.
    """
    content = read_annotations(annotations)
    names, files = names_by_id(content, annotations), files_by_id(content, annotations)
    unknown = sorted(set(exclude) - set(names.values()))
    if unknown:
        raise DataError(f"{annotations}: no category '{unknown[0]}' to exclude; there are {sorted(names.values())}")
    objects: dict[str, list[CocoObject]] = defaultdict(list)
    for entry in content["annotations"]:
        found = _object(entry, names, annotations)
        if not found.crowd and found.kind not in set(exclude) and found.area >= MIN_OBJECT:
            objects[found.image_id].append(found)
    wanted = count + max(1, count // 10)
    if len(objects) < wanted:
        raise DataError(
            f"{annotations}: {len(objects)} images hold an object of at least {MIN_OBJECT} pixels outside the known "
            f"classes, {wanted} are needed; lower data.outliers.count or give more images"
        )
    rng = np.random.default_rng([seed, 0xC0C0])
    # By number where ids are numbers, so that the same seed takes the same objects however they are written.
    ordered = sorted(objects, key=lambda i: (len(i), i))
    cutouts = []
    for image_id in (ordered[i] for i in rng.permutation(len(objects))[:wanted]):
        chosen = objects[image_id][int(rng.integers(len(objects[image_id])))]
        file = looked_up(files, image_id, f"{annotations}: object {chosen.id} is of image")
        cutouts.append(_cut(images / file, chosen, annotations))
    return cutouts[:count], cutouts[count:]


@dataclass(frozen=True)
class CocoObject:
    """An entry of COCO's instance annotations."""

    id: str
    image_id: str
    kind: str
    area: float
    crowd: bool
    segmentation: Any


def _object(entry: Any, names: Mapping[str, str], path: Path) -> CocoObject:
    where = f"{path}: annotations"
    number = str(field(entry, "id", where))
    area = field(entry, "area", where)
    if isinstance(area, bool) or not isinstance(area, int | float):
        raise DataError(f"{path}: object {number} has area {shown(area)}; expected a number of pixels")
    return CocoObject(
        number,
        str(field(entry, "image_id", where)),
        looked_up(names, field(entry, "category_id", where), f"{path}: object {number} is of category"),
        area,
        is_crowd(entry, f"{path}: object {number}"),
        field(entry, "segmentation", where),
    )


def _cut(path: Path, found: CocoObject, annotations: Path) -> Cutout:
    image = read_image(path)
    mask = segmentation_mask(found.segmentation, image.shape[:2], f"{annotations}: object {found.id}")
    if not mask.any():
        raise DataError(f"{annotations}: object {found.id} of {path.name} covers no pixel of its image")
    x, y, width, height = cv2.boundingRect(mask)
    window = (slice(y, y + height), slice(x, x + width))
    return Cutout(f"{path.stem}_{found.id}", found.kind, True, np.dstack([image[window], mask[window] * 255]))
