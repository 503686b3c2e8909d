"""Write train.csv for a folder of cut-outs: objects that are none of the known classes, to paste as unknown ones.

ROOT/train holds PNG files with transparency, each cropped to its object. A file's kind, by which objects are held
apart for validation, is what stands before the last double underscore of its name, further ones as slashes:
animals__birds__owl.png is of the kind animals/birds, canoe.png of its own.

Example:
  python -m m2a_core.data.list_cutouts --root data/outliers
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from m2a_core.data.base import shown_files
from m2a_core.errors import DataError
from m2a_core.images import read_rgba


def list_cutouts(root: Path, kind_of_picture: str = "photo") -> list[dict[str, str]]:
    """Rows of ``train.csv``, by name.

    Args:
        root: folder with ``train/*.png``.
        kind_of_picture: ``photo`` or ``render``.

    Raises:
        DataError: there are no cut-outs, or one cannot be read or shows nothing.
    """
    rows = []
    for path in shown_files(root / "train", "*.png"):
        if not read_rgba(path)[..., 3].any():
            raise DataError(f"{path}: every pixel is transparent; expected an object")
        kind, _, name = path.stem.rpartition("__")
        rows.append({"file": path.name, "kind": kind.replace("__", "/") or name, "type": kind_of_picture})
    if not rows:
        raise DataError(f"{root / 'train'}: no PNG files")
    return rows


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--type", choices=("photo", "render"), default="photo", help="(default: %(default)s)")
    args = parser.parse_args()
    rows = list_cutouts(args.root, args.type)
    with (args.root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} cut-outs in {args.root / 'train.csv'}")


if __name__ == "__main__":
    main()
