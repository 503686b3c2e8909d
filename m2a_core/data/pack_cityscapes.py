"""Write Cityscapes' fine annotations in the packed layout that `m2a train` and `m2a evaluate` read.

CITYSCAPES holds leftImg8bit/ and gtFine/ as distributed. Images become JPEG, class and instance one 16-bit PNG. The
``val`` of Cityscapes stays out: of its ``train``, the cities of --held become the packed ``val``.

Examples:
  python -m m2a_core.data.pack_cityscapes --root CITYSCAPES --out data/cityscapes_640
  python -m m2a_core.data.pack_cityscapes --root CITYSCAPES --out data/cityscapes_640 --size 1024x2048 --stride 1
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import nearest
from m2a_core.data.classes import CITYSCAPES_IDS, cityscapes
from m2a_core.data.packed_cityscapes import STORED_VOID
from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.labels.label_map import read_stored_values
from m2a_core.progress import ProgressBar

HELD = ("ulm", "weimar")
QUALITY = 95


def pack(root: Path, out: Path, size: tuple[int, int], stride: int, held: tuple[str, ...]) -> int:
    """Write the packed frames and their list.

    Args:
        root: Cityscapes as distributed.
        out: folder to write.
        size: height and width to store; the aspect need not be kept.
        stride: of every city, every ``stride``-th frame.
        held: cities of the packed ``val``.

    Returns:
        Number of frames.

    Raises:
        DataError: the layout is another, a file is damaged, or nothing can be written.
    """
    by_city: dict[str, list[tuple[str, Path, Path]]] = {}
    for sample in cityscapes(root, "train").samples:
        assert sample.labels is not None
        ids = sample.labels.with_name(sample.labels.name.replace("_labelIds", "_instanceIds"))
        by_city.setdefault(sample.image.parent.name, []).append((sample.name, sample.image, ids))
    rows = []
    for city, frames in ProgressBar(sorted(by_city.items()), desc="cities"):
        split = "val" if city in held else "train"
        for name, image, ids in frames[::stride]:
            _write(
                out / "images" / split / f"{name}.jpg",
                cv2.resize(read_image(image)[..., ::-1], size[::-1], interpolation=cv2.INTER_AREA),
            )
            _write(out / "ids" / split / f"{name}.png", nearest(packed_ids(read_stored_values(ids)), size))
            rows.append({"split": split, "city": city, "name": name})
    with (out / "frames.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["split", "city", "name"])
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def packed_ids(stored: np.ndarray) -> np.ndarray:
    """Cityscapes' instanceIds (id, or id * 1000 + number from 0) as packed ids: uint16 [H, W].

    An id alone, of a thing, is an undivided group.
    """
    single = stored < 1000
    ids = np.where(single, stored, stored // 1000)
    table = np.full(int(ids.max()) + 1, -1, np.int64)
    for position, value in enumerate(CITYSCAPES_IDS):
        if value < len(table):
            table[value] = position
    classes = table[ids]
    instances = np.where(single, 0, stored % 1000 + 1)
    return np.where(classes < 0, STORED_VOID, classes * 1000 + instances).astype(np.uint16)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise DataError(f"{path}: cannot be written")


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="Cityscapes as distributed")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="640x640", metavar="HxW", help="default: %(default)s")
    parser.add_argument("--stride", type=int, default=1, help="every how many-th frame of a city (default: all)")
    parser.add_argument("--held", nargs="*", default=HELD, metavar="CITY", help=f"default: {' '.join(HELD)}")
    args = parser.parse_args()
    height, width = (int(n) for n in args.size.split("x"))
    print(f"{pack(args.root, args.out, (height, width), args.stride, tuple(args.held))} frames in {args.out}")


if __name__ == "__main__":
    main()
