"""Real obstacles on real roads: a folder for `m2a evaluate` from the marked objects of IDD-lite.

Stones, rubbish, dogs, cows on Indian roads, small and blurred, in drives that no training sees. The marked objects
are anomalies, the drivable surface is known, everything else is void: whether the road around an obstacle scores lower
than the obstacle. Not every obstacle is marked, so the false-positive rate is an upper bound.

python benchmarks/real_obstacles.py --data-root DATA --out OUT
m2a evaluate --dataset folder --root OUT --score refined --json OUT/refined.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.idd_lite import drive_of, held_drives, read_frame


def held_obstacles(root: Path) -> list[tuple[str, str]]:
    """Split and name of the frames with a marked obstacle that no training sees.

    Raises:
        DataError: there are none.
    """
    held = held_drives(root)
    frames = [
        (split, path.stem)
        for split in ("train", "val")
        for path in sorted((root / "objects" / split).glob("*.png"))
        if split == "val" or drive_of(path) in held
    ]
    if not frames:
        raise DataError(f"{root / 'objects'}: no frames; give the folder that holds 'idd_lite'")
    return frames


def main() -> None:
    """Write images/ and masks/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder that holds idd_lite/")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    root = args.data_root / "idd_lite"
    frames = held_obstacles(root)
    for folder in ("images", "masks"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    for split, name in frames:
        frame = read_frame(root, split, name)
        assert frame.outlier is not None
        mask = np.where(frame.outlier, 1, np.where(frame.label == CITYSCAPES19.road, 0, 255)).astype(np.uint8)
        cv2.imwrite(str(args.out / "images" / f"{name}.png"), frame.image[..., ::-1])
        cv2.imwrite(str(args.out / "masks" / f"{name}.png"), mask)
    print(f"{len(frames)} frames in {args.out}")


if __name__ == "__main__":
    main()
