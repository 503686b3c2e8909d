"""COCO's JSON: instances (things), or panoptic maps (things and stuff)."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.data.base import shown_files
from m2a_core.data.coco import (
    field,
    files_by_id,
    is_crowd,
    looked_up,
    names_by_id,
    read_document,
    require_annotations,
    segments_of,
)
from m2a_core.data.own.frames import UNSPLIT, Listing, OwnFrame, Truth, sequence_of, split_named, splits_in
from m2a_core.data.own.naming import Categories
from m2a_core.errors import DataError
from m2a_core.files import relative_path
from m2a_core.labels.coco_masks import segmentation_mask
from m2a_core.labels.label_file import LabelFile
from m2a_core.labels.label_map import VOID
from m2a_core.labels.panoptic_png import read_segment_ids

LAYOUT = """\
ROOT/annotations/{instances_,panoptic_,}{train,val}*.json, or ROOT/{train,val}/_annotations.coco.json
ROOT/images/{train,val}/FILE, ROOT/{train,val}*/FILE or ROOT/images/FILE; a split may have another name (validation)
panoptic: the PNGs in a folder beside the JSON, of the same name"""

_KINDS = ("panoptic", "instances", "person_keypoints", "captions_")
_OTHER = ""
"""Words in the names of the files that COCO has for each split, and any other name."""
_PREFERRED = ("panoptic", "instances", _OTHER, "person_keypoints")


@dataclass(frozen=True)
class Region:
    """An annotation of a frame."""

    class_id: int
    crowd: bool
    segmentation: Any
    where: str


def list_coco(root: Path, file: LabelFile) -> Listing:
    """List the frames.

    Of several files of a split, the panoptic maps are read, else the instances. Categories go by name, in any case. Of
    instances, what no object covers is void, unless the classes have one called ``background``; later annotations lie
    over earlier ones; crowds are void.

    Args:
        root: see `LAYOUT`.
        file: the classes.

    Raises:
        DataError: a JSON is malformed, names a category that no class takes, or two have the same split.
    """
    listing = Listing()
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(
        path
        for pattern in ("*.json", "annotations/*.json", "*/_annotations.coco.json")
        for path in shown_files(root, pattern)
    ):
        found[_split_of(path.relative_to(root))].append(path)
    for split, paths in found.items():
        chosen = _annotations_among(listing, split, paths)
        if chosen is not None:
            path, content = chosen
            (_panoptic if _kind_of(path) == "panoptic" else _instances)(listing, root, split, path, content, file)
    return listing


def _annotations_among(listing: Listing, split: str, paths: Sequence[Path]) -> tuple[Path, dict[str, Any]] | None:
    """The annotations of a split and their content; the other files are noted."""
    for kind in _PREFERRED:
        found = [(path, read_document(path)) for path in paths if _kind_of(path) == kind]
        if kind == _OTHER:
            found = [(path, content) for path, content in found if _is_of_annotations(content)]
        if len(found) > 1:
            raise DataError(f"{found[0][0]} and {found[1][0].name}: two annotations of the split '{split}'; keep one")
        if found:
            chosen, content = found[0]
            listing.notes.extend(f"{path}: is skipped, {chosen.name} is read" for path in paths if path != chosen)
            return chosen, require_annotations(content, chosen)
    listing.notes.extend(f"{path}: holds no annotations of objects and is skipped" for path in paths)
    return None


def _kind_of(path: Path) -> str:
    return next((word for word in _KINDS if word in path.stem.lower()), _OTHER)


def _is_of_annotations(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("annotations"), list)


def _split_of(path: Path) -> str:
    words = re.findall("[a-z]+", path.as_posix().lower())
    return next((split for split in map(split_named, words) if split), UNSPLIT)


def _places(root: Path, split: str, path: Path) -> list[Path]:
    """Where tools put the images that a JSON names, the likeliest first."""
    usual = [
        root / "images" / split,
        root / split,
        root / f"{split}2017",
        root / "images" / f"{split}2017",
    ]
    others = [
        folder / name
        for folder in (root / "images", root)
        for name, found in splits_in(folder).items()
        if found == split
    ]
    return [*usual, *others, root / "images", root, path.parent]


def _frames(
    listing: Listing, root: Path, split: str, path: Path, content: Any
) -> dict[str, tuple[str, Path, tuple[int, int] | None]]:
    """Image id -> name, image and stated size of those that are there."""
    frames: dict[str, tuple[str, Path, tuple[int, int] | None]] = {}
    owners: dict[str, str] = {}
    places = _places(root, split, path)
    for entry, (image_id, name) in zip(content["images"], files_by_id(content, path).items(), strict=True):
        image = next((place / name for place in places if (place / name).is_file()), places[0] / name)
        if name in owners:
            listing.problems.append(f"{path}: images {owners[name]} and {image_id} are both {name}; keep one")
        elif not image.is_file():
            listing.problems.append(f"{path}: image {image_id} is {name}, and there is no {image}")
        else:
            stated = (entry.get("height"), entry.get("width"))
            size = stated if all(isinstance(n, int) for n in stated) else None
            frames[image_id] = Path(name).with_suffix("").as_posix().replace("/", "_"), image, size
        owners[name] = image_id
    return frames


def _instances(listing: Listing, root: Path, split: str, path: Path, content: dict[str, Any], file: LabelFile) -> None:
    names = names_by_id(content, path)
    categories = Categories(file, path)
    frames = _frames(listing, root, split, path, content)
    regions: dict[str, list[Region]] = defaultdict(list)
    for entry in content["annotations"]:
        number = f"{path}: annotation {field(entry, 'id', f'{path}: annotations')}"
        category = field(entry, "category_id", number)
        class_id = categories.of(looked_up(names, category, f"{number} is of category"), category)
        image_id = str(field(entry, "image_id", number))
        crowd = is_crowd(entry, number)
        regions[image_id].append(Region(class_id, crowd, field(entry, "segmentation", number), number))
    strange = sorted(regions.keys() - files_by_id(content, path).keys())
    if strange:
        listing.problems.append(f"{path}: annotations of an image {strange[0]} that it does not list")
    for image_id, (name, image, size) in frames.items():
        read = functools.partial(draw, regions[image_id], file, size, f"{path}: image {image_id}")
        listing.frames.append(OwnFrame(name, split, sequence_of(name), image, read))


def draw(
    regions: Sequence[Region], file: LabelFile, stated: tuple[int, int] | None, where: str, size: tuple[int, int]
) -> Truth:
    """Draw annotations, later ones over earlier ones.

    Raises:
        DataError: the image has another size than the annotations say, or one cannot be drawn.
    """
    if stated is not None and tuple(stated) != tuple(size):
        raise DataError(f"{where}: annotated at {stated[1]}x{stated[0]} pixels, its image is {size[1]}x{size[0]}")
    names = [name.casefold() for name in file.labels.names]
    label = np.full(size, names.index("background") if "background" in names else VOID, np.uint8)
    instances = np.zeros(size, np.int32)
    for number, region in enumerate(regions, start=1):
        mask = segmentation_mask(region.segmentation, size, region.where) > 0
        label[mask] = VOID if region.crowd else region.class_id
        instances[mask] = number if region.class_id in file.labels.things and not region.crowd else 0
    return Truth(label, instances)


def _panoptic(listing: Listing, root: Path, split: str, path: Path, content: dict[str, Any], file: LabelFile) -> None:
    names = names_by_id(content, path)
    categories = Categories(file, path)
    frames = _frames(listing, root, split, path, content)
    seen: set[str] = set()
    for entry in content["annotations"]:
        image_id = str(field(entry, "image_id", f"{path}: annotations"))
        if image_id in seen:
            listing.problems.append(f"{path}: two annotations of image {image_id}; keep one")
        elif image_id in frames:
            name, image, _ = frames[image_id]
            where = f"{path}: image {image_id}"
            segments = {
                segment.id: VOID if segment.crowd else categories.of(segment.class_name, category)
                for segment, category in segments_of(entry, names, where)
            }
            png = path.with_suffix("") / relative_path(field(entry, "file_name", where), where)
            read = functools.partial(_read_panoptic, png, segments, file)
            listing.frames.append(OwnFrame(name, split, sequence_of(name), image, read, labels=png))
        seen.add(image_id)
    for image_id in sorted(frames.keys() - seen):
        listing.problems.append(f"{path}: no annotation of image {image_id}, {frames[image_id][1]}")


def _read_panoptic(path: Path, segments: Mapping[int, int], file: LabelFile, size: tuple[int, int]) -> Truth:
    stored = read_segment_ids(path, segments.keys())
    if stored.shape != tuple(size):
        raise DataError(f"{path}: is {stored.shape[1]}x{stored.shape[0]} pixels, its image {size[1]}x{size[0]}")
    found, inverse = np.unique(stored, return_inverse=True)
    classes = np.array([segments.get(int(value), VOID) for value in found], np.uint8)
    numbers = np.where(np.isin(classes, sorted(file.labels.things)), np.arange(1, len(found) + 1), 0).astype(np.int32)
    inverse = inverse.reshape(stored.shape)
    return Truth(classes[inverse], numbers[inverse])
