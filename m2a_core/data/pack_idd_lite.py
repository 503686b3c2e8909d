"""Copy IDD-lite into the layout that `m2a train` reads.

IDD holds leftImg8bit/{train,val}/DRIVE/FRAME_image.jpg and gtFine/{train,val}/DRIVE/FRAME_label.png, as idd20k_lite is
distributed. Files are copied as they are, to images/SPLIT/DRIVE_FRAME.jpg and labels/SPLIT/DRIVE_FRAME.png.

Example:
  python -m m2a_core.data.pack_idd_lite --root idd20k_lite --out data/idd_lite
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from m2a_core.data.base import shown_files
from m2a_core.errors import DataError

_IMAGE, _LABEL = "_image.jpg", "_label.png"


def pack(root: Path, out: Path) -> int:
    """Copy the labelled frames.

    Args:
        root: idd20k_lite as distributed.
        out: folder to write.

    Returns:
        Number of frames.

    Raises:
        DataError: there are no images, or one has no label; nothing is written then.
    """
    copies: list[tuple[Path, Path]] = []
    for split in ("train", "val"):
        for image in shown_files(root / "leftImg8bit" / split, f"*/*{_IMAGE}"):
            frame, drive = image.name.removesuffix(_IMAGE), image.parent.name
            label = root / "gtFine" / split / drive / f"{frame}{_LABEL}"
            if not label.is_file():
                raise DataError(f"{image}: its label {label} is missing")
            copies.append((image, out / "images" / split / f"{drive}_{frame}.jpg"))
            copies.append((label, out / "labels" / split / f"{drive}_{frame}.png"))
    if not copies:
        raise DataError(
            f"{root}: expected leftImg8bit/{{train,val}}/DRIVE/FRAME{_IMAGE}, as idd20k_lite is distributed"
        )
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return len(copies) // 2


def main() -> None:
    """Copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(f"{pack(args.root, args.out)} frames in {args.out}")


if __name__ == "__main__":
    main()
