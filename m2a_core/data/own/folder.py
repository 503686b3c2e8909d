"""Pictures with id masks beside them: ``images/{train,val}/NAME.*`` and ``masks/{train,val}/NAME.png``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from m2a_core.data.own.frames import (
    UNSPLIT,
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
from m2a_core.errors import DataError
from m2a_core.labels.label_file import LabelFile
from m2a_core.labels.label_map import SUFFIXES, LabelValues, read_stored_values

LAYOUT = """\
ROOT/classes.yaml
ROOT/images/{train,val}/NAME.jpg          (any image; folders below are sequences)
ROOT/masks/{train,val}/NAME.png           (the ids of classes.yaml, 8 or 16 bits, or a palette's indices)
ROOT/instances/{train,val}/NAME.png       (optional: numbers of things, 0 = none)"""

KINDS = ("images", "masks", "instances")

Reader = Callable[..., Truth]
"""As `read_truth`."""


def list_folder(root: Path, file: LabelFile, read: Reader | None = None) -> Listing:
    """List the frames; nothing is read yet.

    Args:
        root: see `LAYOUT`.
        file: the classes.
        read: reads a mask; default: `read_truth`.

    Raises:
        ConfigError: a class has no id.
    """
    listing, values = Listing(), file.values
    read_one = functools.partial(read or read_truth, values=values, file=file)
    kinds = [root / kind for kind in KINDS]
    splits = splits_in(kinds[0])
    if not splits:
        _pair(listing, UNSPLIT, kinds, read_one)
        return listing
    note_others(listing, kinds[0])
    taken: set[str] = set()
    for name, split in splits.items():
        folders = [_of_split(kind, name, split) for kind in kinds]
        taken.add(folders[1].name)
        _pair(listing, split, folders, read_one)
    for name, split in splits_in(kinds[1]).items():
        if name not in taken:
            _pair(listing, split, [kind / name for kind in kinds], read_one)
    return listing


def _of_split(kind: Path, name: str, split: str) -> Path:
    """The folder of that name, else one of the same split, such as masks/val for images/validation."""
    found = splits_in(kind)
    return kind / (name if name in found else next((other for other in found if found[other] == split), name))


def _pair(listing: Listing, split: str, folders: Sequence[Path], read_one: Callable[..., Truth]) -> None:
    pictures, masks, _ = folders
    images, labels, things = (by_key(_images_in(listing, folder), folder) for folder in folders)
    for key, paths in sorted(images.items()):
        name = key.replace("/", "_")
        mask = _one_of(listing, paths[0], labels.get(key, []), "mask")
        if key not in labels:
            listing.problems.append(f"{paths[0]}: has no mask; expected {masks / key}.png")
        if len(paths) > 1:
            listing.problems.append(f"{paths[0]} and {paths[1].name}: two images of one name; keep one")
        elif mask is not None:
            own = _one_of(listing, paths[0], things.get(key, []), "instance map")
            read = functools.partial(read_one, mask, own)
            folder = str(Path(key).parent)
            sequence = sequence_of(Path(key).name, "" if folder == "." else folder)
            listing.frames.append(OwnFrame(name, split, sequence, paths[0], read, labels=mask))
    for key in sorted(labels.keys() - images.keys()):
        listing.problems.append(f"{labels[key][0]}: a mask without its image {pictures / key}.*")


def _images_in(listing: Listing, folder: Path) -> list[Path]:
    """The images below a folder; other files are noted."""
    found = files_in(folder)
    images = [path for path in found if is_picture(path)]
    strange = sorted({*found} - {*images})
    if strange:
        listing.notes.append(
            f"{folder}: {len(strange)} files are not images and are skipped, such as {strange[0].name}"
        )
    return images


def _one_of(listing: Listing, image: Path, paths: list[Path], what: str) -> Path | None:
    """The label map of an image among the files of its name; None where there is none or, with a problem, no single."""
    usable = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if len(usable) > 1:
        listing.problems.append(f"{usable[0]} and {usable[1].name}: two {what}s of {image.name}; keep one")
    elif usable:
        return usable[0]
    elif paths and paths[0].suffix.lower() in (".jpg", ".jpeg"):
        listing.problems.append(f"{paths[0]}: the {what} is a JPEG, which changes ids; save the ids as PNG")
    elif paths:
        listing.problems.append(f"{paths[0]}: cannot be the {what} of {image.name}; save the ids as PNG")
    return None


def read_truth(mask: Path, numbers: Path | None, size: tuple[int, int], values: LabelValues, file: LabelFile) -> Truth:
    """Read a mask, and the numbers of its things where there are any.

    Raises:
        DataError: a file cannot be read, is a JPEG, has another size than its image, or holds an id that
            is in no class.
    """
    label = decoded(read_stored_values(mask), mask, values, file, size)
    if numbers is None:
        return Truth(label)
    stored = read_stored_values(numbers)
    if stored.shape != label.shape:
        raise DataError(f"{numbers}: is {list(stored.shape)}, its mask {list(label.shape)}")
    # Negative ones mean none, too: TIFFs of 32 bits may hold -1 there.
    return Truth(label, np.where((label < file.labels.num_classes) & (stored > 0), stored, 0).astype(np.int32))


def decoded(stored: np.ndarray, path: Path, values: LabelValues, file: LabelFile, size: tuple[int, int]) -> np.ndarray:
    """Stored values as class ids uint8 [H, W]; errors as `read_truth`."""
    if stored.shape != tuple(size):
        raise DataError(
            f"{path}: the label is {stored.shape[1]}x{stored.shape[0]} pixels, its image {size[1]}x{size[0]}"
        )
    try:
        return values.decode(stored, str(path))
    except DataError as error:
        raise DataError(f"{error}; give each a class in {file.path.name}, or list it there under void") from error
