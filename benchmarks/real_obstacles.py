"""Real obstacles on real roads: a folder for `m2a evaluate` from the marked objects of IDD-lite.

Stones, rubbish, dogs, cows on Indian roads, small and blurred, in drives that training did not see. The marked objects
are anomalies, the drivable surface is known, everything else is void: whether the road around an obstacle scores lower
than the obstacle. Not every obstacle is marked, so the false-positive rate is an upper bound.

python benchmarks/real_obstacles.py --data-root DATA --out OUT [--idd-stride N]
m2a evaluate --dataset folder --root OUT --score refined --json OUT/refined.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from m2a_core.images import read_image
from m2a_core.training.idd_lite import SIZE, drive_of


def unseen_frames(root: Path, stride: int) -> list[tuple[str, Path]]:
    """Split and object map of the marked frames whose drive has no frame among every ``stride``-th of training."""
    trained = {drive_of(path) for path in sorted((root / "images" / "train").glob("*.jpg"))[::stride]}
    return [
        (split, path)
        for split in ("train", "val")
        for path in sorted((root / "objects" / split).glob("*.png"))
        if split == "val" or drive_of(path) not in trained
    ]


def main() -> None:
    """Write images/ and masks/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds idd_lite/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--idd-stride", type=int, default=3, help="data.idd_stride of the training run (default 3)")
    args = parser.parse_args()
    root = args.data_root / "idd_lite"
    frames = unseen_frames(root, args.idd_stride)
    for folder in ("images", "masks"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    for split, path in frames:
        objects = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        coarse = cv2.imread(str(root / "labels" / split / path.name), cv2.IMREAD_UNCHANGED)
        mask = np.where(objects > 0, 1, np.where(coarse == 0, 0, 255)).astype(np.uint8)
        image = read_image(root / "images" / split / f"{path.stem}.jpg")
        image = cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(args.out / "images" / path.name), image[..., ::-1])
        cv2.imwrite(str(args.out / "masks" / path.name), cv2.resize(mask, SIZE, interpolation=cv2.INTER_NEAREST))
    print(f"{len(frames)} frames in {args.out}")


if __name__ == "__main__":
    main()
