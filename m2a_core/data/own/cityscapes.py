"""Cityscapes and what is stored as Cityscapes is: a class and the number of an instance in one value."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from m2a_core.data.base import paired, pictures
from m2a_core.data.own.folder import decoded, list_folder
from m2a_core.data.own.frames import Listing, OwnFrame, Truth
from m2a_core.data.packed_cityscapes import ASPECT, STORED_VOID, packed_frames
from m2a_core.errors import DataError
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.labels.label_file import LabelFile
from m2a_core.labels.label_map import VOID, LabelValues, read_stored_values

LAYOUT = """\
ROOT/leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png and ROOT/gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png
    (or ..._instanceIds.png, which is taken where it is there), as distributed
or ROOT/images/{train,val}/NAME.* and ROOT/masks/{train,val}/NAME.png
    (16 bits: an id of classes.yaml, or id * 1000 + number of the instance)
or ROOT/frames.csv, ROOT/images/{train,val}/NAME.jpg and ROOT/ids/{train,val}/NAME.png, see docs/datasets.md"""

NAMES = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus",
    "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""Cityscapes' classes by label id (Cordts et al., CVPR 2016)."""
VOCABULARY: Mapping[str, int] = {**{name: i for i, name in enumerate(NAMES)}, "license plate": -1}


def list_cityscapes(root: Path, file: LabelFile) -> Listing:
    """List the frames of any of the layouts.

    Where the data know Cityscapes' names, classes may be made from them (``from``); ids that no class takes are void if
    Cityscapes does not evaluate them, else an error.

    Args:
        root: see `LAYOUT`.
        file: the classes.

    Raises:
        ConfigError: a class has neither an id nor a name of Cityscapes.
        DataError: a list is malformed, or images lack their labels.
    """
    if (root / "leftImg8bit").is_dir():
        return _distributed(root, file)
    if (root / "frames.csv").is_file() and (root / "ids").is_dir():
        return _packed(root, file)
    return list_folder(root, file, _read_numbered)


def _with_void(values: LabelValues, void: frozenset[int]) -> LabelValues:
    return LabelValues(values.ids, values.void | (void - values.ids.keys()))


def _distributed(root: Path, file: LabelFile) -> Listing:
    unused = frozenset(i for name, i in VOCABULARY.items() if name not in CITYSCAPES19.names) | {VOID}
    values = _with_void(file.values_of(VOCABULARY), unused)
    listing = Listing()
    for split in ("train", "val", "test"):
        folder = root / "leftImg8bit" / split
        images = pictures(folder, "*/*_leftImg8bit.*") if folder.is_dir() else []
        if not images:
            continue
        samples = paired("Cityscapes", LAYOUT, images, functools.partial(_label_of, root, split), _plain)
        for sample in samples:
            assert sample.labels is not None
            numbered = sample.labels.with_name(sample.labels.name.replace("_labelIds", "_instanceIds"))
            path = numbered if numbered.is_file() else sample.labels
            read = functools.partial(_read_numbered, path, None, values=values, file=file)
            listing.frames.append(
                OwnFrame(sample.name, split, sample.image.parent.name, sample.image, read, labels=path)
            )
    return listing


def _plain(image: Path) -> str:
    return image.stem.removesuffix("_leftImg8bit")


def _label_of(root: Path, split: str, image: Path) -> Path:
    return root / "gtFine" / split / image.parent.name / f"{_plain(image)}_gtFine_labelIds.png"


def _packed(root: Path, file: LabelFile) -> Listing:
    values = _with_void(file.values_of({name: i for i, name in enumerate(CITYSCAPES19.names)}), frozenset({VOID}))
    listing = Listing()
    for split in ("train", "val"):
        for name, city in packed_frames(root, split):
            path = root / "ids" / split / f"{name}.png"
            read = functools.partial(_read_packed, path, values=values, file=file)
            image = root / "images" / split / f"{name}.jpg"
            listing.frames.append(OwnFrame(name, split, city, image, read, aspect=ASPECT, labels=path))
    return listing


def _read_numbered(
    path: Path, numbers: Path | None, size: tuple[int, int], values: LabelValues, file: LabelFile
) -> Truth:
    """Values below 1000 are ids, others id * 1000 + instance, unless they are ids themselves."""
    stored = read_stored_values(path).astype(np.int64)
    single = (stored < 1000) | np.isin(stored, [*values.ids, *values.void])
    label = decoded(np.where(single, stored, stored // 1000), path, values, file, size)
    known = ~single & (label < file.labels.num_classes)
    return Truth(label, np.where(known, stored, 0).astype(np.int32) if known.any() else None)


def _read_packed(path: Path, size: tuple[int, int], values: LabelValues, file: LabelFile) -> Truth:
    stored = read_stored_values(path)
    if stored.dtype != np.uint16:
        raise DataError(f"{path}: expected a 16-bit map of class * 1000 + instance, got {stored.dtype}")
    wide = stored.astype(np.int64)
    label = decoded(np.where(wide == STORED_VOID, VOID, wide // 1000), path, values, file, size)
    numbered = (label < file.labels.num_classes) & (wide % 1000 > 0)
    return Truth(label, np.where(numbered, wide, 0).astype(np.int32))
