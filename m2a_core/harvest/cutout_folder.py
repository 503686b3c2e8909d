"""Cut-outs with alpha in the layout that training reads: ``train.csv`` and ``train/FILE.png``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.files import write_text
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import ObjectRecord
from m2a_core.images import read_image
from m2a_core.labels.label_map import LabelValues, read_label_map

LEAST_SIDE = 8
"""Longer side of the smallest cut-out, in pixels: less is a smudge when it is pasted."""

_COLUMNS = ("file", "kind", "type", "width", "height", "foot", "size", "source")
_MASK = LabelValues({0: 0, 255: 1}, frozenset())


class CutoutFolder:
    """Collects cut-outs in a folder; nothing is written before the first one."""

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``."""
        self.folder = folder
        self.rows: list[dict[str, object]] = []
        self.too_small = 0

    def add(self, harvest: Harvest, record: ObjectRecord, name: str) -> int:
        """Write the cut-outs of a record.

        Args:
            harvest: whose record it is.
            record: its crops become cut-outs.
            name: what it is.

        Returns:
            How many there are; crops of objects under ``LEAST_SIDE`` are left out and counted in ``too_small``.

        Raises:
            DataError: a crop or a mask is missing, malformed, or they are of different sizes.
            OSError: a cut-out cannot be written.
        """
        before = len(self.rows)
        for number, (crop, mask) in enumerate(zip(record.crops, record.masks, strict=False)):
            rgba = read_cutout(harvest, record, crop, mask)
            height, width = rgba.shape[:2]
            if max(height, width) < LEAST_SIDE:
                self.too_small += 1
                continue
            file = f"{name.replace(' ', '_')}_{record.id}_{number}.png"
            (self.folder / "train").mkdir(parents=True, exist_ok=True)
            encoded = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1]
            (self.folder / "train" / file).write_bytes(encoded.tobytes())
            # Only of the best crop it is known where it was.
            foot = f"{record.box[3] / record.image_height:.4f}" if crop == record.crop else ""
            size = f"{min(1.0, max(height, width) / record.image_height):.4f}"
            self.rows.append(
                dict(zip(_COLUMNS, (file, name, "photo", width, height, foot, size, record.bag), strict=True))
            )
        return len(self.rows) - before

    def finish(self) -> None:
        """Write ``train.csv``, where there is a cut-out.

        Raises:
            OSError: it cannot be written.
        """
        if self.rows:
            text = io.StringIO()
            writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_text(self.folder / "train.csv", text.getvalue())


def read_cutout(harvest: Harvest, record: ObjectRecord, crop: str, mask: str) -> np.ndarray:
    """An object of a crop with its mask as alpha, cut to the mask: uint8 [h, w, 4], RGB and alpha 0 or 255.

    Raises:
        DataError: a file is missing or malformed, the sizes differ, or the mask is empty.
    """
    image, inside = read_crop(harvest, record, crop, mask)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return np.dstack([image[window], inside[window].astype(np.uint8) * 255])


def read_crop(harvest: Harvest, record: ObjectRecord, crop: str, mask: str) -> tuple[np.ndarray, np.ndarray]:
    """A crop uint8 [h, w, 3], RGB, and its mask bool [h, w]; errors as ``read_cutout``."""
    path = harvest.path(crop)
    if not path.is_file():
        raise DataError(f"{path}: missing, the crop of record {record.id}; harvest again or restore the folder")
    image = read_image(path)
    inside = read_label_map(harvest.path(mask), _MASK, image.shape[:2]) == 1
    if not inside.any():
        raise DataError(f"{harvest.path(mask)}: has no pixel of the object of record {record.id}; harvest again")
    return image, inside
