"""COCO's annotation files, with every field that is missing or odd named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2a_core.data.base import Segment
from m2a_core.errors import DataError, shown
from m2a_core.files import read_text, relative_path

PANOPTIC_LAYOUT = """\
ROOT/{train,val}2017/NAME.jpg
ROOT/annotations/panoptic_{train,val}2017.json
ROOT/annotations/panoptic_{train,val}2017/NAME.png (or ROOT/panoptic_{train,val}2017/NAME.png)"""


@dataclass(frozen=True)
class PanopticFrame:
    """A frame of COCO panoptic: its picture, its PNG of segment ids, and what the segments are."""

    image: Path
    mask: Path
    segments: tuple[Segment, ...]


def read_annotations(path: Path) -> dict[str, Any]:
    """Read an annotation file; errors as `read_document` and `require_annotations`."""
    return require_annotations(read_document(path), path)


def read_document(path: Path) -> Any:
    """Read a JSON.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); a half-finished download?") from error


def require_annotations(content: Any, path: Path) -> dict[str, Any]:
    """Take a JSON's content as annotations.

    Raises:
        DataError: it lacks images, annotations or categories.
    """
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        raise DataError(f"{path}: expected COCO annotations with lists of images, annotations and categories")
    return content


def field(entry: Any, key: str, where: str) -> Any:
    """One field of an entry.

    Raises:
        DataError: the entry has no such field; the message names both.
    """
    if not isinstance(entry, Mapping) or key not in entry:
        shown = json.dumps(entry, default=str)[:120]
        raise DataError(f"{where}: an entry without '{key}': {shown}")
    return entry[key]


def files_by_id(content: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Image id, as text -> file name; errors as `field` and `relative_path`, or one id twice.

    Some tools write numbers, others strings.
    """
    return {image: relative_path(name, path) for image, name in _by_id(content, "images", "file_name", path).items()}


def names_by_id(content: Mapping[str, Any], path: Path) -> dict[str, str]:
    """Category id, as text -> name; errors as `files_by_id`."""
    return _by_id(content, "categories", "name", path)


def _by_id(content: Mapping[str, Any], what: str, key: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in content[what]:
        number, value = (str(field(entry, name, f"{path}: {what}")) for name in ("id", key))
        if number in found:
            raise DataError(f"{path}: two {what} have the id {number}, {found[number]} and {value}; each needs its own")
        found[number] = value
    return found


def looked_up(table: Mapping[str, str], key: object, what: str) -> str:
    """An entry of a table by its id.

    Raises:
        DataError: there is none; ``what`` says who asks for what.
    """
    if str(key) not in table:
        raise DataError(f"{what} {shown(key)}, which the file does not list")
    return table[str(key)]


def panoptic_frames(root: Path, split: str) -> list[PanopticFrame]:
    """List the frames of a split of COCO panoptic, by file name. A segment without ``iscrowd`` is not a crowd.

    Args:
        root: the data set's folder.
        split: ``train2017`` or ``val2017``.

    Raises:
        DataError: annotations or masks are missing, a field is, an id refers to nothing, or two annotations share an
            image or a file.
    """
    path = root / "annotations" / f"panoptic_{split}.json"
    masks = next((m for m in (path.with_suffix(""), root / path.stem) if m.is_dir()), None)
    if masks is None or not path.is_file():
        missing = path if not path.is_file() else path.with_suffix("")
        raise DataError(f"COCO panoptic: {missing} is missing; expected layout:\n{PANOPTIC_LAYOUT}")
    content = read_annotations(path)
    files, names = files_by_id(content, path), names_by_id(content, path)
    frames: dict[str, PanopticFrame] = {}
    images: set[str] = set()
    for entry in content["annotations"]:
        file = relative_path(field(entry, "file_name", f"{path}: annotations"), path)
        where = f"{path}: {file}"
        if file in frames:
            raise DataError(f"{where}: annotated twice; keep one")
        image = looked_up(files, field(entry, "image_id", where), f"{where}: is of image")
        if image in images:
            raise DataError(f"{where}: its image {image} has two annotations; keep one")
        images.add(image)
        segments = tuple(segment for segment, _ in segments_of(entry, names, where))
        frames[file] = PanopticFrame(root / split / image, masks / file, segments)
    if not frames:
        raise DataError(f"{path}: no annotations")
    return [frames[file] for file in sorted(frames)]


def segments_of(entry: Any, names: Mapping[str, str], where: str) -> list[tuple[Segment, Any]]:
    """The segments of a panoptic annotation, each with the id of its category.

    Raises:
        DataError: the annotation lists none, a field is missing or odd, or two segments have one id.
    """
    parts = field(entry, "segments_info", where)
    if not isinstance(parts, list):
        raise DataError(f"{where}: segments_info is {shown(parts)}; expected a list")
    found: dict[int, tuple[Segment, Any]] = {}
    for part in parts:
        number = integer(field(part, "id", f"{where}: segments_info"), f"{where}: a segment's id")
        category = field(part, "category_id", where)
        name = looked_up(names, category, f"{where}: segment {number} is of category")
        if number in found:
            raise DataError(f"{where}: two segments have the id {number}")
        found[number] = Segment(number, name, is_crowd(part, f"{where}: segment {number}")), category
    return list(found.values())


def is_crowd(entry: Mapping[str, Any], where: str) -> bool:
    """Whether an annotation is of a crowd; without ``iscrowd``, it is not.

    Raises:
        DataError: ``iscrowd`` is neither 0, 1, true nor false; the text "0" would count as true.
    """
    value = entry.get("iscrowd", 0)
    if not isinstance(value, int) or value not in (0, 1):
        raise DataError(f"{where}: iscrowd is {shown(value)}; expected 0, 1, true or false")
    return bool(value)


def integer(value: Any, what: str) -> int:
    """A whole number, also as text; raises `DataError`, which names ``what``."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what} is {shown(value)}; expected an integer") from error
