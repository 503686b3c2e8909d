"""Training data: frames, read early or late, CamVid with 11 classes, and the RGBA outlier cut-outs."""

from __future__ import annotations

import csv
import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from m2a_core.data.base import pictures
from m2a_core.data.classes import CAMVID_VOID
from m2a_core.errors import DataError
from m2a_core.files import relative_path
from m2a_core.images import read_image, read_rgba
from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_map import LabelValues, read_label_map
from m2a_core.yaml_file import read_yaml

CAMVID_VALUES = LabelValues({i: i for i in range(CAMVID11.num_classes)}, frozenset({CAMVID_VOID}))


@dataclass(frozen=True)
class LabelledImage:
    """One road frame.

    Attributes:
        name: stem of the file.
        sequence: the drive it is from.
        image: uint8 [H, W, 3], RGB.
        label: uint8 [H, W], class id or 255 = void.
        partial: void hides objects of known classes, so that a query without a partner is not "no object".
        instances: int32 [H, W], number of the instance of a thing, 0 where there is none; None without instances.
        outlier: bool [H, W], real unknown objects; None without any.
    """

    name: str
    sequence: str
    image: np.ndarray
    label: np.ndarray
    partial: bool = False
    instances: np.ndarray | None = None
    outlier: np.ndarray | None = None


@dataclass(frozen=True)
class FrameSource:
    """A frame that can be read.

    Attributes:
        name: unique in its data set.
        read: gives the frame, or raises `DataError` naming the file.
    """

    name: str
    read: Callable[[], LabelledImage]


class FramesOnDisk(Sequence[LabelledImage]):
    """Frames that are read each time they are asked for: for data sets larger than the memory."""

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        """Take the sources."""
        self.sources = sources

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.sources)

    def __getitem__(self, index):  # type: ignore[no-untyped-def] # int or slice, as Sequence has it
        """Read one frame; a slice reads nothing yet."""
        if isinstance(index, slice):
            return FramesOnDisk(self.sources[index])
        return self.sources[index].read()


@dataclass(frozen=True)
class Cutout:
    """One object with alpha.

    Attributes:
        name: stem of the file.
        kind: what it is; renders are a kind each.
        photo: a photograph, not a render.
        rgba: uint8 [H, W, 4].
        foot: row of its lower edge where it was seen, as a share of that frame's height from the top; None = nowhere.
        size: its longer side there, as a share of that height; None = nowhere.
        folder: where it was read from.
    """

    name: str
    kind: str
    photo: bool
    rgba: np.ndarray
    foot: float | None = None
    size: float | None = None
    folder: Path | None = None


def _rows(path: Path, columns: set[str], remedy: str) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; {remedy}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected CSV in UTF-8") from error
    if not rows or not columns <= rows[0][1].keys():
        found = [*rows[0][1]] if rows else "no rows"
        raise DataError(f"{path}: expected rows with the columns {', '.join(sorted(columns))}, got {found}")
    for line, row in rows:
        empty = sorted(column for column in columns if not row[column])
        if empty:
            raise DataError(f"{path}: line {line}: no {' and no '.join(empty)}")
        for column in columns & {"file", "name"}:
            relative_path(row[column], path)
    return [row for _, row in rows]


def load_camvid_frame(root: Path, split: str, name: str, sequence: str) -> LabelledImage:
    """Read one CamVid frame; void becomes 255.

    Args:
        root: folder with ``images``, ``labels`` and ``frames.csv``.
        split: ``train``, ``val`` or ``test``.
        name: stem of the frame.
        sequence: its drive.

    Raises:
        DataError: a file is missing, sizes differ, or the label holds an id outside 0..11.
    """
    folder = root / "images" / split
    image = read_image(next((path for path in pictures(folder, f"{name}.*")), folder / f"{name}.jpg"))
    path = root / "labels" / split / f"{name}.png"
    return LabelledImage(name, sequence, image, read_label_map(path, CAMVID_VALUES, image.shape[:2]))


def camvid_sources(
    root: Path, splits: dict[str, int], held_apart: float
) -> tuple[list[FrameSource], list[FrameSource]]:
    """List CamVid's frames.

    Args:
        root: folder of CamVid.
        splits: split to stride, of ``train`` and ``val``.
        held_apart: share at the end of each ``train`` sequence.

    Returns:
        Training frames and held-apart frames, in time order.

    Raises:
        DataError: the test split is asked for, or the list of frames is missing or malformed.
    """
    if not set(splits) <= {"train", "val"}:
        raise DataError(f"CamVid splits {sorted(splits)}: only train and val may be trained on")
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in _rows(root / "frames.csv", {"split", "sequence", "name"}, "give the folder that holds 'camvid'"):
        groups[row["split"], row["sequence"]].append(row["name"])
    train: list[FrameSource] = []
    held: list[FrameSource] = []
    for (split, sequence), names in sorted(groups.items()):
        if split not in splits:
            continue
        kept = len(names) - (round(len(names) * held_apart) if split == "train" else 0)
        for part, chosen in ((train, names[: kept : splits[split]]), (held, names[kept:])):
            part += [FrameSource(n, functools.partial(load_camvid_frame, root, split, n, sequence)) for n in chosen]
    return train, held


def load_cutouts(
    root: Path, validation_kinds: Path | Sequence[str] | None, *more: Path
) -> tuple[list[Cutout], list[Cutout]]:
    """Read the outlier cut-outs, split by kind.

    Args:
        root: folder with ``train.csv`` and ``train/*.png``.
        validation_kinds: the kinds to hold apart, or YAML with a list ``kinds`` of them, or None for every fifth kind
            of ``root`` that no other folder has (none of a single kind); renders are named ``emoji3d/STEM``.
        more: further folders of the same layout.

    Returns:
        Cut-outs to train on and cut-outs of unseen kinds.

    Raises:
        DataError: a file is missing or malformed, a kind to hold apart does not exist, or one side is left empty.
    """
    cutouts = [cutout for folder in (root, *more) for cutout in read_cutouts(folder)]
    if isinstance(validation_kinds, Path):
        apart, where = _kinds(validation_kinds), str(validation_kinds)
    elif validation_kinds is None:
        first = {c.kind for c in cutouts if c.folder == root} - {c.kind for c in cutouts if c.folder != root}
        # A single kind is trained on: there is no other to measure with.
        apart, where = set(sorted(first)[::5] if len({c.kind for c in cutouts}) > 1 else ()), "every fifth one"
    else:
        apart, where = set(validation_kinds), "outliers.held"
    unknown = sorted(apart - {c.kind for c in cutouts})
    if unknown:
        raise DataError(f"{where}: no cut-out is of kind '{unknown[0]}'")
    seen, unseen = [c for c in cutouts if c.kind not in apart], [c for c in cutouts if c.kind in apart]
    if not seen or not (unseen or validation_kinds is None):
        raise DataError(
            f"{root / 'train.csv'}: {len(seen)} outlier cut-outs to train on and {len(unseen)} to validate with are "
            f"left after holding the kinds of {where} apart; both need at least one"
        )
    return seen, unseen


def _kinds(path: Path) -> set[str]:
    try:
        return set(read_yaml(path)["kinds"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected YAML with a list 'kinds' ({error})") from error


def read_cutouts(root: Path) -> list[Cutout]:
    """Read a folder of cut-outs: ``train.csv`` with file, kind, type and maybe foot and size; ``train/FILE``.

    Raises:
        DataError: a file is missing or malformed.
    """
    cutouts = []
    remedy = f"{root} should hold cut-outs of outliers, train.csv and train/*.png"
    for row in _rows(root / "train.csv", {"file", "kind", "type"}, remedy):
        stem = Path(row["file"]).stem
        kind = row["kind"] if row["kind"] != "emoji3d" else f"emoji3d/{stem.removeprefix('fluent3d__')}"
        rgba = read_rgba(root / "train" / row["file"])
        foot, size = (_share(root / "train.csv", row, column) for column in ("foot", "size"))
        cutouts.append(Cutout(stem, kind, row["type"] == "photo", rgba, foot, size, root))
    return cutouts


def _share(path: Path, row: dict[str, str], column: str) -> float | None:
    text = row.get(column)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise DataError(f"{path}: {column} of {row['file']}: expected a share of the frame's height, got '{text}'")
    return value
