"""Pictures with id masks beside them: ``images/{train,val}/NAME.*`` and ``masks/{train,val}/NAME.png``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from m2a_core.data.own.frames import (
    SPLITS,
    UNSPLIT,
    Listing,
    OwnFrame,
    Truth,
    by_key,
    files_in,
    is_picture,
    sequence_of,
)
from m2a_core.errors import DataError
from m2a_core.labels.label_file import LabelFile
from m2a_core.labels.label_map import SUFFIXES, LabelValues, read_stored_values

LAYOUT = """\
ROOT/classes.yaml
ROOT/images/{train,val}/NAME.jpg          (any image; folders below are sequences)
ROOT/masks/{train,val}/NAME.png           (the ids of classes.yaml, 8 or 16 bits, or a palette's indices)
ROOT/instances/{train,val}/NAME.png       (optional: numbers of things, 0 = none)"""

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
    for split in (*SPLITS, UNSPLIT):
        below = "" if split == UNSPLIT else split
        pictures, masks, numbers = (root / kind / below for kind in ("images", "masks", "instances"))
        if split == UNSPLIT and any((root / "images" / name).is_dir() for name in SPLITS):
            continue
        read_one = functools.partial(read or read_truth, values=values, file=file)
        _pair(listing, split, (pictures, masks, numbers), read_one)
    return listing


def _pair(listing: Listing, split: str, folders: tuple[Path, Path, Path], read_one: Callable[..., Truth]) -> None:
    pictures, masks, numbers = folders
    images, labels = (by_key(_images_in(listing, folder), folder) for folder in (pictures, masks))
    for key, paths in sorted(images.items()):
        name = key.replace("/", "_")
        mask = _one_mask(listing, paths[0], labels.get(key, []), masks / f"{key}.png")
        if len(paths) > 1:
            listing.problems.append(f"{paths[0]} and {paths[1].name}: two images of one name; keep one")
        elif mask is not None:
            own = numbers / f"{key}.png"
            read = functools.partial(read_one, mask, own if own.is_file() else None)
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


def _one_mask(listing: Listing, image: Path, paths: list[Path], expected: Path) -> Path | None:
    """The mask of an image, or None and a problem."""
    usable = [path for path in paths if path.suffix.lower() in SUFFIXES]
    lossy = [path for path in paths if path.suffix.lower() in (".jpg", ".jpeg")]
    if len(usable) > 1:
        listing.problems.append(f"{usable[0]} and {usable[1].name}: two masks of {image.name}; keep one")
    elif usable:
        return usable[0]
    elif lossy:
        listing.problems.append(f"{lossy[0]}: the mask is a JPEG, which changes ids; save the ids as PNG")
    else:
        listing.problems.append(f"{image}: has no mask; expected {expected}")
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
    return Truth(label, np.where(label < file.labels.num_classes, stored, 0).astype(np.int32))


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
