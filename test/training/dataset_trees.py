"""Tiny data sets in the layouts in which Cityscapes, StreetHazards and COCO are distributed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

CITY_SIZE = (96, 192)
COCO_CATEGORIES = {1: "person", 3: "car", 17: "cat", 149: "road", 187: "sky-other-merged", 44: "bottle"}


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_cityscapes(root: Path, counts: dict[str, int]) -> None:
    """``counts``: split -> frames. Road (7) below, sky (23) above, a car (26), the ego vehicle (1) as void."""
    for split, count in counts.items():
        for i in range(count):
            label = np.full(CITY_SIZE, 23, np.uint8)
            label[48:], label[40:60, 20 + 10 * i : 60 + 10 * i], label[90:] = 7, 26, 1
            image = np.random.default_rng(i).integers(0, 255, (*CITY_SIZE, 3)).astype(np.uint8)
            name = f"aachen_{i:06d}_000019"
            write_image(root / "leftImg8bit" / split / "aachen" / f"{name}_leftImg8bit.png", image)
            write_image(root / "gtFine" / split / "aachen" / f"{name}_gtFine_labelIds.png", label)


def write_packed_cityscapes(root: Path, counts: dict[str, int]) -> None:
    """``counts``: split -> frames, stored as 64x64. Sky, road, two touching cars, a group, void, the own car."""
    rows = ["split,city,sequence,frame,name"]
    for split, count in counts.items():
        for i in range(count):
            ids = np.full((64, 64), 10_000, np.uint16)
            ids[30:], ids[35:45, 10:20], ids[35:45, 20:30], ids[50:55, 40:50] = 0, 13_001, 13_002, 13_000
            ids[46:48, 2:6] = ids[60:] = 65535
            image = np.random.default_rng(i).integers(0, 255, (64, 64, 3)).astype(np.uint8)
            write_image(root / "images" / split / f"aachen_{i}.jpg", image)
            write_image(root / "ids" / split / f"aachen_{i}.png", ids)
            rows.append(f"{split},aachen,{i:06d},000019,aachen_{i}")
    (root / "frames.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_streethazards(root: Path, counts: dict[str, int]) -> None:
    """``counts``: split -> frames. Unlabelled (1) above, road (8) below, "other" (4) at the bottom, a car (11)."""
    for split, count in counts.items():
        town = {"training": "t1-3", "validation": "t4"}[split]
        for i in range(count):
            label = np.full(CITY_SIZE, 1, np.uint8)
            label[48:], label[90:], label[50:70, 30:60] = 8, 4, 11
            image = np.random.default_rng(i).integers(0, 255, (*CITY_SIZE, 3)).astype(np.uint8)
            write_image(root / "train" / "images" / split / town / f"{i}.png", image)
            write_image(root / "train" / "annotations" / split / town / f"{i}.png", label)


def write_coco_panoptic(root: Path, counts: dict[str, int]) -> None:
    """``counts``: split -> frames. Sky, road, two touching cars, a person, a crowd of people, and unlabelled pixels."""
    for split, count in counts.items():
        images, annotations = [], []
        for i in range(count):
            ids = np.zeros((80, 100), np.int32)
            parts = [
                (1000, 187, 0, slice(0, 40), slice(0, 100)),
                (70001, 149, 0, slice(40, 76), slice(0, 100)),
                (300, 3, 0, slice(40, 60), slice(10, 30)),
                (301, 3, 0, slice(40, 60), slice(30, 50)),
                (302, 1, 0, slice(30, 60), slice(60, 70)),
                (303, 1, 1, slice(30, 50), slice(80, 100)),
            ]
            for number, _, _, rows, cols in parts:
                ids[rows, cols] = number
            image = np.random.default_rng(i).integers(0, 255, (80, 100, 3)).astype(np.uint8)
            stored = np.stack([ids // 65536, ids // 256 % 256, ids % 256], -1).astype(np.uint8)
            name = f"{i:012d}"
            write_image(root / split / f"{name}.jpg", image)
            write_image(root / "annotations" / f"panoptic_{split}" / f"{name}.png", stored)
            images.append({"id": i, "file_name": f"{name}.jpg", "height": 80, "width": 100})
            info = [{"id": n, "category_id": c, "iscrowd": crowd} for n, c, crowd, *_ in parts]
            annotations.append({"image_id": i, "file_name": f"{name}.png", "segments_info": info})
        content = {"images": images, "annotations": annotations, "categories": _categories()}
        path = root / "annotations" / f"panoptic_{split}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


def write_coco_instances(root: Path, count: int) -> None:
    """Images with a bottle (polygon), every other one with a cat (run lengths), a person and a crowd."""
    images, annotations = [], []
    for i in range(count):
        image = np.full((80, 100, 3), (40, 60, 80), np.uint8)
        image[10:60, 20:60] = (0, 0, 250)
        name = f"{i:012d}.jpg"
        write_image(root / "train2017" / name, image)
        images.append({"id": i, "file_name": name, "height": 80, "width": 100})
        square = [20, 10, 60, 10, 60, 60, 20, 60]
        column_major = {"size": [80, 100], "counts": [20 * 80, 40 * 80, 40 * 80]}
        entries = [(44, [square], 2000, 0), (1, [[0, 0, 70, 0, 70, 70, 0, 70]], 4900, 0), (17, column_major, 3200, 1)]
        if i % 2:
            entries.append((17, column_major, 3200, 0))
        annotations += [
            {"id": 10 * i + n, "image_id": i, "category_id": c, "segmentation": s, "area": area, "iscrowd": crowd}
            for n, (c, s, area, crowd) in enumerate(entries)
        ]
    content = {"images": images, "annotations": annotations, "categories": _categories()}
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _categories() -> list[dict]:
    return [{"id": i, "name": name} for i, name in COCO_CATEGORIES.items()]
