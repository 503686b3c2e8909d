"""What every format of own data is read into."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import nearest
from m2a_core.errors import DataError
from m2a_core.images import SUFFIXES, read_image
from m2a_core.labels.label_file import LabelFile
from m2a_core.labels.label_map import SUFFIXES as MAP_SUFFIXES

SPLITS = ("train", "val", "test")
UNSPLIT = "all"
"""The split of frames that are not split yet."""

_MORE_SUFFIXES = (".jpe", ".jfif", ".jp2", ".j2k", ".pgm", ".pnm", ".dib")
_SIDECARS = (".txt", ".json", ".xml", ".csv", ".md", ".yaml", ".yml", ".db", ".ini")


@dataclass(frozen=True)
class Truth:
    """The labels of a frame.

    Attributes:
        label: uint8 [H, W], class id or 255 = void.
        instances: int32 [H, W], number of the instance of a thing, 0 where there is none; None without instances.
    """

    label: np.ndarray
    instances: np.ndarray | None = None


@dataclass(frozen=True)
class OwnFrame:
    """A frame that can be read.

    Attributes:
        name: unique in its split.
        split: ``train``, ``val``, ``test``, or ``all`` for data without splits.
        sequence: the drive it is from; frames of one sequence never go to two splits.
        image: the image's file.
        truth: reads the labels for an image of H, W pixels, or raises `DataError` naming the file.
        aspect: width over height, where images are stored stretched; None = as they are.
        labels: the file of its labels, where it has one of its own.
    """

    name: str
    split: str
    sequence: str
    image: Path
    truth: Callable[[tuple[int, int]], Truth]
    aspect: float | None = None
    labels: Path | None = None

    @property
    def has_map(self) -> bool:
        """Whether its labels are a map of ids: void alone then means that nobody labelled it, not that it is empty."""
        return self.labels is not None and self.labels.suffix.lower() in MAP_SUFFIXES

    def read(self) -> tuple[np.ndarray, Truth]:
        """The image uint8 [H, W, 3], RGB, and its labels.

        Raises:
            DataError: a file is missing or malformed, or the labels are of another size.
        """
        image = read_image(self.image)
        truth = self.truth((image.shape[0], image.shape[1]))
        if self.aspect is None:
            return image, truth
        size = (image.shape[0], round(self.aspect * image.shape[0]))
        instances = None if truth.instances is None else nearest(truth.instances, size)
        return (
            cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR),
            Truth(nearest(truth.label, size), instances),
        )


@dataclass(frozen=True)
class Listing:
    """The frames of a root, before any of them is read.

    Attributes:
        frames: all that have an image and labels, by split and name.
        problems: what is wrong with others, a sentence each that names the file.
        notes: what one may want to know and needs no fixing.
    """

    frames: list[OwnFrame] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def finish(self) -> None:
        """Sort the frames, and give those of a split that share a name names of their own, which is noted."""
        self.frames.sort(key=lambda frame: (frame.split, frame.name))
        for split in {frame.split: None for frame in self.frames}:
            places = [i for i, frame in enumerate(self.frames) if frame.split == split]
            names = different([self.frames[i].name for i in places])
            renamed = [(i, name) for i, name in zip(places, names, strict=True) if name != self.frames[i].name]
            if renamed:
                frame = self.frames[renamed[0][0]]
                self.notes.append(
                    f"{split}: {len(renamed)} frames have the name of another, such as {frame.image}: "
                    f"'{frame.name}', called '{renamed[0][1]}' here"
                )
            for i, name in renamed:
                self.frames[i] = replace(self.frames[i], name=name)


@dataclass(frozen=True)
class OwnDataset:
    """Own data on disk.

    Attributes:
        root: its folder.
        format: what it is stored as.
        file: its classes.
        listing: its frames.
    """

    root: Path
    format: str
    file: LabelFile
    listing: Listing

    def split(self, name: str) -> list[OwnFrame]:
        """The frames of a split."""
        return [frame for frame in self.listing.frames if frame.split == name]

    def require_whole(self) -> None:
        """Raise `DataError` where a frame is not as it should be, or where there is nothing to train on."""
        problems = self.listing.problems
        if problems:
            more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
            raise DataError(f"{problems[0]}{more}; `m2a data check {self.root}` names them all")


def different(names: Sequence[str]) -> list[str]:
    """The same names, but where one comes again it gets a number in front, such as ``2_a``.

    At its end, the number would be taken for the frame's in its sequence.
    """
    taken, found = {*names}, []
    seen: set[str] = set()
    for name in names:
        own = name
        if name in seen:
            own = next(other for n in itertools.count(2) if (other := f"{n}_{name}") not in taken)
            taken.add(own)
        seen.add(name)
        found.append(own)
    return found


def split_named(word: str) -> str:
    """The split that a word stands for, such as ``Validation``; ``""`` where it stands for none."""
    match = re.fullmatch("(train|val|test)(ing|id|idation|set|data)?", word.lower())
    return match[1] if match else ""


def sequence_of(name: str, folder: str = "") -> str:
    """The drive that a frame is from: its folder, else its name without the number at the end."""
    return folder or re.sub(r"[-_. ]*\d+$", "", name)


def is_picture(path: Path) -> bool:
    """Whether a file is to be read as an image, whatever its ending."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in _MORE_SUFFIXES:
        return True
    return suffix not in _SIDECARS and bool(cv2.haveImageReader(str(path)))


def files_in(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones, sorted; links are followed, and one that leads nowhere is a file.

    Raises:
        DataError: a folder cannot be listed.
    """
    return sorted(_below(folder, frozenset())) if folder.is_dir() else []


def _below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    place = folder.resolve()
    # A link to a folder that it lies in would go on for ever.
    if place in above:
        return
    for path in seen_in(folder):
        if path.is_dir():
            yield from _below(path, above | {place})
        elif path.is_file() or path.is_symlink():
            yield path


def seen_in(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, but hidden files; nothing where there is no such folder.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error


def splits_in(folder: Path) -> dict[str, str]:
    """The folders in a folder that are named after a split -> the split."""
    return {path.name: split for path in seen_in(folder) if (split := split_named(path.name)) and path.is_dir()}


def note_others(listing: Listing, images: Path) -> None:
    """Note the images that lie beside the folders of splits; errors as `files_in`."""
    splits = splits_in(images)
    others = [path for path in seen_in(images) if path.name not in splits]
    found = [image for path in others for image in (files_in(path) if path.is_dir() else [path]) if is_picture(image)]
    if found:
        listing.notes.append(
            f"{images}: {len(found)} images are in no folder of a split ({', '.join(SPLITS)}) and are skipped, such as "
            f"{found[0]}"
        )


def key_of(path: Path, folder: Path) -> str:
    """A file's name below a folder without its ending; what images and labels share."""
    return path.relative_to(folder).with_suffix("").as_posix()


def by_key(paths: Iterable[Path], folder: Path) -> dict[str, list[Path]]:
    """Files by `key_of`."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(key_of(path, folder), []).append(path)
    return found
