"""YOLO segmentation text: one object a line, its class and a polygon in shares of the image's size."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from m2a_core.data.own.coco import Region, draw
from m2a_core.data.own.frames import (
    Listing,
    OwnFrame,
    Truth,
    by_key,
    files_in,
    is_picture,
    note_others,
    sequence_of,
    splits_in,
)
from m2a_core.data.own.naming import Categories, require_different_names
from m2a_core.errors import MALFORMED, DataError, shown
from m2a_core.files import read_text
from m2a_core.labels.label_file import LabelFile
from m2a_core.yaml_file import read_yaml

LAYOUT = """\
ROOT/data.yaml                       (names: [...] or {0: ..., 1: ...})
ROOT/images/{train,val}/NAME.*       or ROOT/{train,valid}/images/NAME.*
ROOT/labels/{train,val}/NAME.txt     or ROOT/{train,valid}/labels/NAME.txt   (CLASS X1 Y1 X2 Y2 X3 Y3 ..., 0 to 1)"""

_NAMES = "classes.txt"
"""Tools leave it among the label files."""
_LISTS = ("data.yaml", "dataset.yaml", "data.yml")


def list_yolo(root: Path, file: LabelFile) -> Listing:
    """List the frames; an image without a label file has no objects.

    What no object covers is void, unless the classes have one called ``background``. Without a list of names, the
    numbers are the ids of the classes' file.

    Args:
        root: see `LAYOUT`.
        file: the classes.

    Raises:
        DataError: the list of names is malformed, or names what no class takes.
    """
    listing, classes = Listing(), _classes(root, file)
    pictures, texts = root / "images", root / "labels"
    note_others(listing, pictures)
    for name, split in sorted({**splits_in(texts), **splits_in(pictures)}.items()):
        _pair(listing, split, pictures / name, texts / name, classes, file)
    for name, split in splits_in(root).items():
        _pair(listing, split, root / name / "images", root / name / "labels", classes, file)
    return listing


def _classes(root: Path, file: LabelFile) -> dict[int, int]:
    """Number in the texts -> class id or void."""
    path = next((root / name for name in _LISTS if (root / name).is_file()), None)
    if path is None:
        values = file.values
        return {**dict.fromkeys(values.void, 255), **values.ids}
    try:
        names: Any = read_yaml(path)["names"]
        if isinstance(names, str):
            raise TypeError(f"the text {names}")
        numbered = {int(n): str(name) for n, name in (names.items() if isinstance(names, dict) else enumerate(names))}
    except (OSError, yaml.YAMLError, *MALFORMED) as error:
        raise DataError(
            f"{path}: expected 'names', a list or a mapping of numbers to names ({shown(error)})"
        ) from error
    require_different_names(numbered, path)
    categories = Categories(file, path)
    return {number: categories.of(name, number) for number, name in numbered.items()}


def _pair(listing: Listing, split: str, pictures: Path, texts: Path, classes: dict[int, int], file: LabelFile) -> None:
    images = by_key((path for path in files_in(pictures) if is_picture(path)), pictures)
    found = (path for path in files_in(texts) if path.suffix.lower() == ".txt" and path.name != _NAMES)
    labels = by_key(found, texts)
    if not images and not labels:
        return
    empty = 0
    for key, paths in sorted(images.items()):
        if len(paths) > 1:
            listing.problems.append(f"{paths[0]} and {paths[1].name}: two images of one name; keep one")
            continue
        text = labels.get(key, [None])[0]
        empty += text is None
        name = key.replace("/", "_")
        read = functools.partial(_read, text, classes, file)
        listing.frames.append(OwnFrame(name, split, sequence_of(name), paths[0], read, labels=text))
    if empty:
        listing.notes.append(f"{texts}: {empty} images have no label file, so no objects")
    for key in sorted(labels.keys() - images.keys()):
        listing.problems.append(f"{labels[key][0]}: a label file without its image {pictures / key}.*")


def _read(path: Path | None, classes: dict[int, int], file: LabelFile, size: tuple[int, int]) -> Truth:
    regions = []
    try:
        lines = [] if path is None else read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            kind, *values = line.split()
            class_id, shares = int(kind), np.array(values, np.float64)
        except ValueError as error:
            raise DataError(f"{where}: expected CLASS X1 Y1 X2 Y2 X3 Y3 ... ({error})") from error
        if len(shares) == 4:
            raise DataError(f"{where}: a box, not an outline; export segmentation (polygons), not detection")
        if len(shares) < 6 or len(shares) % 2:
            raise DataError(f"{where}: expected at least three points, X and Y each, got {len(shares)} numbers")
        outside = shares[~((shares >= -0.01) & (shares <= 1.01))]
        if len(outside):
            raise DataError(f"{where}: expected shares of the image's size from 0 to 1, got {outside[0]:g}")
        if class_id not in classes:
            raise DataError(f"{where}: class {class_id} is none of {', '.join(map(str, sorted(classes)))}")
        points = shares.reshape(-1, 2).clip(0, 1) * size[::-1]
        regions.append(Region(classes[class_id], False, [points.ravel().tolist()], where))
    return draw(regions, file, None, str(path), size)
