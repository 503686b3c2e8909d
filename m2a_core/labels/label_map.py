"""Label maps: files with one id a pixel. Every value that a file holds has a meaning, or the file is refused."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from m2a_core.errors import DataError
from m2a_core.files import read_array
from m2a_core.image_header import is_cut_short, read_header
from m2a_core.images import read_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import TiffImageFile

VOID = 255
"""Id of pixels that do not count."""

SUFFIXES = (".png", ".npy", ".npz", ".tif", ".tiff", ".bmp")
"""Endings, in any case, of label maps in a folder."""

_NAMED = 8
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies the samples of 2- and 4-bit grey files by, to fill 0..255."""
_NOT_8_BITS = (";15", ";16", ";16B", ";16L", ";16N")
"""Ends of Pillow's names of colours as they are stored."""
_BITS_PER_SAMPLE = 258
"""Tag of TIFF."""


@dataclass(frozen=True)
class LabelValues:
    """The values that the label maps of a data set may hold.

    Attributes:
        ids: stored value -> id, 0..254.
        void: stored values of pixels that do not count.
    """

    ids: Mapping[int, int]
    void: frozenset[int] = frozenset({VOID})

    def decode(self, stored: np.ndarray, source: str) -> np.ndarray:
        """Turn stored values into ids.

        Args:
            stored: integer [H, W].
            source: the file, for messages.

        Returns:
            uint8 [H, W], id or 255 = void.

        Raises:
            DataError: there is another value; the message names the values found, their pixels and the file.
        """
        allowed = {**dict.fromkeys(self.void, VOID), **self.ids}
        low, high = min(allowed), max(allowed)
        table = np.full(high - low + 1, -1, np.int16)
        table[np.array(list(allowed)) - low] = list(allowed.values())
        smallest, largest = int(stored.min()), int(stored.max())
        if low <= smallest and largest <= high:
            ids = table[stored.astype(np.intp) - low] if low else table[stored]
            if int(ids.min()) >= 0:
                return ids.astype(np.uint8)
        found, counts = np.unique(stored, return_counts=True)
        bad = [(int(v), int(n)) for v, n in zip(found, counts, strict=True) if int(v) not in allowed]
        raise DataError(f"{source}: label values outside the map: {counted(bad)}; expected {self}")

    def __str__(self) -> str:
        """The values in words, as for messages."""
        void = f"{_ranges(self.void - self.ids.keys())} for void" if self.void - self.ids.keys() else ""
        return " and ".join(part for part in (_ranges(self.ids), void) if part)


ANOMALY_VALUES = LabelValues({0: 0, 1: 1})
"""0 known, 1 anomaly, 255 void."""


def read_label_map(path: Path, values: LabelValues, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a label map.

    Args:
        path: see ``read_stored_values``.
        values: what the file may hold.
        size: H, W that it must have, those of its image; None for any.

    Returns:
        uint8 [H, W], id or 255 = void.

    Raises:
        DataError: as ``read_stored_values``, or the file holds another value or has another size.
    """
    stored = read_stored_values(path)
    if size is not None and stored.shape != tuple(size):
        raise DataError(f"{path}: label is {list(stored.shape)}, its image {list(size)}")
    return values.decode(stored, str(path))


def read_stored_values(path: Path) -> np.ndarray:
    """Read a label map's values as they are stored; an EXIF orientation is applied, as to pictures.

    Args:
        path: PNG, TIFF, BMP, PPM or lossless WebP: grey of 1 to 32 bits, palette (the indices count, not the colours),
            or colour of 8 bits with three equal channels and no transparency. Or .npy, or .npz with one array.

    Returns:
        Integer [H, W].

    Raises:
        DataError: the file cannot be read or is cut short, is a JPEG, holds colours or fractions, or is not one map.
    """
    stored = read_array(path) if path.suffix.lower() in (".npz", ".npy") else _read_picture(path)
    stored = stored.squeeze() if stored.ndim > 2 else stored
    if stored.dtype == bool:
        stored = stored.astype(np.uint8)
    if stored.ndim != 2 or stored.dtype.kind not in "iu" or not stored.size:
        raise DataError(f"{path}: expected a mask [H, W] of integers, got {stored.dtype.name} {list(stored.shape)}")
    return stored


@contextmanager
def id_image(path: Path) -> Iterator[tuple[ImageFile, str]]:
    """An image whose samples are ids, and its mode, as Pillow names it.

    Raises:
        DataError: the file cannot be read, is a JPEG, is cut short, has samples that would come out changed, or cannot
            be decoded.
    """
    # The node, which must start quickly, knows label sets and reads no label maps.
    from PIL import Image

    data = read_bytes(path)
    header = read_header(data, str(path))
    if header.format == "JPEG":
        raise DataError(f"{path}: a JPEG, which changes label values; save the ids as PNG")
    if is_cut_short(data):
        raise DataError(f"{path}: the image is cut short ({len(data)} bytes, no end); fetch it again")
    try:
        with Image.open(io.BytesIO(data)) as image:
            _require_whole_samples(image, header.mode, path)
            yield image, header.mode
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: damaged; the image cannot be decoded ({error})") from error


def _require_whole_samples(image: ImageFile, mode: str, path: Path) -> None:
    """Raise `DataError` where Pillow would give other samples than the file holds, and say nothing."""
    decoder, arguments = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", "")
    listed = (arguments,) if isinstance(arguments, str) else (*(arguments or ()),)
    raw = str(listed[0]) if listed else ""
    bits = (8,)
    if image.format == "TIFF":
        bits = tuple(cast("TiffImageFile", image).tag_v2.get(_BITS_PER_SAMPLE, bits))
    # Of colours it keeps 8 bits a channel: the high byte of 16, and 5 or 6 bits stretched to 8.
    if len(image.getbands()) > 1 and (max(bits) > 8 or raw.endswith(_NOT_8_BITS)):
        raise DataError(
            f"{path}: an {mode} picture whose channels have not 8 bits each; save the ids as grey of 8 or 16 bits"
        )
    whole = 65535 if len(image.getbands()) == 1 else 255
    if decoder.startswith("ppm") and listed[1] not in (255, whole):
        raise DataError(f"{path}: its largest value is declared as {listed[1]}; save the ids as PNG")


def _read_picture(path: Path) -> np.ndarray:
    from PIL import ImageOps

    with id_image(path) as (image, mode):
        raw = image.tile[0][3] if image.tile else None
        step = _GREY_STEPS.get(raw if isinstance(raw, str) else raw[0] if raw else "", 1)
        stored = np.asarray(ImageOps.exif_transpose(image))
    if stored.dtype.kind == "f":
        raise DataError(f"{path}: holds fractions ({mode}); expected integer ids")
    return _one_channel(stored, mode, path) if stored.ndim == 3 else stored // stored.dtype.type(step)


def _one_channel(stored: np.ndarray, mode: str, path: Path) -> np.ndarray:
    """The ids of a colour picture whose channels are equal: uint8 [H, W]."""
    if mode in ("LA", "PA", "RGBA"):
        if int(stored[..., -1].min()) < 255:
            raise DataError(f"{path}: parts of the label map are transparent; save the ids as 8-bit grey without alpha")
        stored = stored[..., :-1]
    if (stored[..., :1] == stored).all():
        return stored[..., 0]
    colors, counts = np.unique(stored.reshape(-1, stored.shape[2]), axis=0, return_counts=True)
    shown = counted(zip((tuple(map(int, color)) for color in colors), map(int, counts), strict=True))
    raise DataError(f"{path}: an {mode} picture that holds {shown}; expected ids as 8-bit grey or palette, not colours")


def counted(found: Iterable[tuple[object, int]]) -> str:
    """Values with their pixels, the most frequent first: ``2 (31 pixels), 254 (7 pixels)``."""
    ordered = sorted(found, key=lambda entry: -entry[1])
    more = f" and {len(ordered) - _NAMED} more values" if len(ordered) > _NAMED else ""
    return ", ".join(f"{value} ({count} pixels)" for value, count in ordered[:_NAMED]) + more


def _ranges(values: Collection[int]) -> str:
    """Values in short: ``0..11, 254, 255``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
