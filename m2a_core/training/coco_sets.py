"""COCO for training: panoptic frames with instances, and objects cut out of frames with instance masks."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.datasets import Cutout, FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

PANOPTIC_LAYOUT = """\
ROOT/{train,val}2017/NAME.jpg
ROOT/annotations/panoptic_{train,val}2017.json
ROOT/annotations/panoptic_{train,val}2017/NAME.png (or ROOT/panoptic_{train,val}2017/NAME.png)"""

MIN_OBJECT = 1024
"""Smallest area in pixels of an object that is cut out: 32 x 32, COCO's border of small objects."""


def _load(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{what}: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); a half-finished download?") from error
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise DataError(f"{path}: expected COCO annotations with images, annotations and categories")
    return content


def coco_panoptic_sources(root: Path, split: str, labels: LabelSet) -> list[FrameSource]:
    """List COCO's panoptic frames; categories that the label set lacks (those a K-split removed) are void.

    Args:
        root: the data set's folder.
        split: ``train2017`` or ``val2017``.
        labels: the known classes, by COCO's names.

    Raises:
        DataError: annotations, masks or images are missing or malformed.
    """
    path = root / "annotations" / f"panoptic_{split}.json"
    masks = next((m for m in (path.with_suffix(""), root / path.stem) if m.is_dir()), None)
    if masks is None or not path.is_file():
        raise DataError(f"COCO panoptic: {path} or its masks are missing; expected layout:\n{PANOPTIC_LAYOUT}")
    content = _load(path, "COCO panoptic")
    ids = {name: i for i, name in enumerate(labels.names)}
    try:
        classes = {entry["id"]: ids.get(entry["name"], IGNORE) for entry in content["categories"]}
        files = {image["id"]: image["file_name"] for image in content["images"]}
        sources = []
        for entry in sorted(content["annotations"], key=lambda e: e["file_name"]):
            image, mask = root / split / files[entry["image_id"]], masks / entry["file_name"]
            # A crowd is a region of several things that nobody told apart: no instance can be learnt from it.
            segments = {
                int(part["id"]): IGNORE if part["iscrowd"] else classes[part["category_id"]]
                for part in entry["segments_info"]
            }
            sources.append(
                FrameSource(mask.stem, functools.partial(_panoptic, mask.stem, image, mask, segments, labels))
            )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not COCO panoptic annotations ({type(error).__name__}: {error})") from error
    if not sources:
        raise DataError(f"{path}: no annotations")
    return sources


def _panoptic(
    name: str, image_path: Path, mask_path: Path, segments: Mapping[int, int], labels: LabelSet
) -> LabelledImage:
    image, mask = read_image(image_path), read_image(mask_path).astype(np.int32)
    if mask.shape != image.shape:
        raise DataError(f"{mask_path}: mask is {list(mask.shape[:2])}, its image {list(image.shape[:2])}")
    stored = mask[..., 0] + 256 * mask[..., 1] + 65536 * mask[..., 2]
    found, inverse = np.unique(stored, return_inverse=True)
    outside = [int(v) for v in found if v != 0 and int(v) not in segments]
    if outside:
        raise DataError(f"{mask_path}: segment ids {outside[:5]} are not among the {len(segments)} annotated ones")
    classes = np.array([segments.get(int(v), IGNORE) for v in found], np.uint8)
    things = np.isin(classes, sorted(labels.things))
    numbers = np.where(things, np.arange(1, len(found) + 1), 0).astype(np.int32)
    inverse = inverse.reshape(stored.shape)
    return LabelledImage(name, "coco", image, classes[inverse], instances=numbers[inverse])


def load_coco_cutouts(
    images: Path, annotations: Path, count: int, exclude: Iterable[str], seed: int
) -> tuple[list[Cutout], list[Cutout]]:
    """Cut one object out of each of some images of COCO's layout (AnomalyMix, Sec. 4.3).

    Args:
        images: folder of the images.
        annotations: instance annotations: polygons or uncompressed run lengths; crowds are left out.
        count: images for training, drawn at random; a tenth of it (at least one) comes on top for validation.
        exclude: names of categories that are known classes.
        seed: of the draw: the same seed takes the same objects.

    Returns:
        Cut-outs to train on, and those of other images to validate with; a cut-out's kind is its category.

    Raises:
        DataError: a file is missing or malformed, a category to exclude does not exist, or too few images have an
            object of at least 32 x 32 pixels.
    """
    content = _load(annotations, "COCO instances")
    try:
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        unknown = sorted(set(exclude) - set(names.values()))
        if unknown:
            raise DataError(f"{annotations}: no category '{unknown[0]}' to exclude; there are {sorted(names.values())}")
        files = {image["id"]: image["file_name"] for image in content["images"]}
        objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            usable = not entry.get("iscrowd", 0) and names[entry["category_id"]] not in set(exclude)
            if usable and entry["area"] >= MIN_OBJECT:
                objects[entry["image_id"]].append(entry)
        wanted = count + max(1, count // 10)
        if len(objects) < wanted:
            raise DataError(
                f"{annotations}: {len(objects)} images hold an object of at least {MIN_OBJECT} pixels that is no known "
                f"class, {wanted} are wanted; lower data.outliers.count or give more images"
            )
        rng = np.random.default_rng([seed, 0xC0C0])
        chosen = [sorted(objects)[i] for i in rng.permutation(len(objects))[:wanted]]
        cutouts = []
        for image_id in chosen:
            entry = objects[image_id][int(rng.integers(len(objects[image_id])))]
            cutouts.append(_cut(images / files[image_id], entry, names[entry["category_id"]], annotations))
    except (KeyError, TypeError) as error:
        raise DataError(f"{annotations}: not COCO instance annotations ({type(error).__name__}: {error})") from error
    return cutouts[:count], cutouts[count:]


def _cut(path: Path, entry: Mapping[str, Any], kind: str, annotations: Path) -> Cutout:
    image = read_image(path)
    mask = segmentation_mask(entry["segmentation"], image.shape[:2], f"{annotations}: object {entry['id']}")
    if not mask.any():
        raise DataError(f"{annotations}: object {entry['id']} of {path.name} covers no pixel of its image")
    x, y, width, height = cv2.boundingRect(mask)
    window = (slice(y, y + height), slice(x, x + width))
    return Cutout(f"{path.stem}_{entry['id']}", kind, True, np.dstack([image[window], mask[window] * 255]))


def segmentation_mask(segmentation: Any, size: tuple[int, int], source: str) -> np.ndarray:
    """Rasterise a COCO segmentation.

    Args:
        segmentation: list of polygons [x0, y0, x1, y1, ...], or a mapping with ``counts`` (list) and ``size``.
        size: H, W of the image.
        source: what it is of, for messages.

    Returns:
        uint8 [H, W], 0 or 1.

    Raises:
        DataError: malformed, compressed (as no file of COCO's releases is), or of another size.
    """
    mask = np.zeros(size, np.uint8)
    if isinstance(segmentation, list):
        if not all(isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 for p in segmentation):
            raise DataError(f"{source}: expected polygons of at least three points")
        for polygon in segmentation:
            # Filled one by one: overlapping parts of an object are no holes.
            cv2.fillPoly(mask, [np.rint(np.array(polygon, np.float64).reshape(-1, 2) - 0.5).astype(np.int32)], 1)
        return mask
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(counts, list) or list(segmentation.get("size", [])) != list(size) or sum(counts) != mask.size:
        raise DataError(f"{source}: expected polygons or uncompressed run lengths of an image of {list(size)}")
    values = np.arange(len(counts)) % 2
    return np.repeat(values, counts).astype(np.uint8).reshape(size[::-1]).T
