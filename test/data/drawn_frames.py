"""Drawn frames with known labels, in every format of own data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from pycocotools import mask as coco_mask

from m2a_core.data.own.frames import OwnDataset
from m2a_core.data.own.opening import open_own
from m2a_core.errors import DataError

SIZE = (48, 64)
CLASSES: dict[str, Any] = {
    "classes": [
        {"name": "road", "id": 7, "color": [128, 64, 128], "thing": False},
        {"name": "vehicle", "from": ["car", "truck"], "color": [0, 0, 142], "thing": True},
        {"name": "sky", "id": 23, "color": [70, 130, 180], "thing": False},
    ],
    "void": [255, "dirt"],
}
BOXES = {
    "road": (24, 48, 0, 64),
    "sky": (0, 20, 0, 64),
    "car": (20, 32, 8, 20),
    "truck": (16, 28, 40, 60),
    "dirt": (44, 48, 0, 8),
}
"""Name -> rows and columns; later ones lie over earlier ones. Rows 20 to 23 are unlabelled but for the cars."""
IDS = {"road": 7, "sky": 23, "car": 26, "truck": 27, "dirt": 0}


def drawn(values: dict[str, int], other: int) -> np.ndarray:
    found = np.full(SIZE, other, np.int32)
    for name, (top, bottom, left, right) in BOXES.items():
        found[top:bottom, left:right] = values[name]
    return found


EXPECTED = drawn({"road": 0, "sky": 2, "car": 1, "truck": 1, "dirt": 255}, 255)
NUMBERS = drawn({"road": 0, "sky": 0, "car": 1, "truck": 2, "dirt": 0}, 0)


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(len(str(path))).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    assert cv2.imwrite(str(path), image)


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask)


def folder(root: Path) -> None:
    content = {**CLASSES, "classes": [*CLASSES["classes"]], "void": [255, 0]}
    content["classes"][1] = {**CLASSES["classes"][1], "from": [26, 27]}
    (root / "classes.yaml").write_text(yaml.safe_dump(content))
    for split in ("train", "val"):
        write_image(root / "images" / split / "drive" / "a.001.jpg")
        write_mask(root / "masks" / split / "drive" / "a.001.png", drawn(IDS, 255).astype(np.uint8))
        write_mask(root / "instances" / split / "drive" / "a.001.png", NUMBERS.astype(np.uint16))


def _region(number: int, name: str, image: int) -> dict[str, Any]:
    top, bottom, left, right = BOXES[name]
    polygon: Any = [[left, top, right, top, right, bottom, left, bottom]]
    if number % 2:
        mask = np.zeros(SIZE, np.uint8)
        mask[top:bottom, left:right] = 1
        polygon = coco_mask.encode(np.asfortranarray(mask))
        polygon = {"size": list(polygon["size"]), "counts": polygon["counts"].decode()}
    return {
        "id": 100 * image + number,
        "image_id": image,
        "category_id": IDS[name],
        "segmentation": polygon,
        "iscrowd": 0,
    }


def coco_content(names: list[str]) -> dict[str, Any]:
    images = [{"id": i, "file_name": n, "height": SIZE[0], "width": SIZE[1]} for i, n in enumerate(names)]
    return {
        "images": images,
        "categories": [{"id": i, "name": n.title()} for n, i in IDS.items()],
        "annotations": [_region(k, n, image["id"]) for image in images for k, n in enumerate(BOXES)],
    }


def coco(root: Path) -> None:
    (root / "annotations").mkdir()
    for split in ("train", "val"):
        write_image(root / f"{split}2017" / "a_001.png")
        content = coco_content(["a_001.png"])
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def panoptic(root: Path) -> None:
    for split in ("train", "val"):
        write_image(root / "images" / split / "a_001.png")
        content = coco_content(["a_001.png"])
        numbers = {name: 1000 + 7 * k for k, name in enumerate(BOXES)}
        content["annotations"] = [
            {
                "image_id": 0,
                "file_name": "a_001.png",
                "segments_info": [{"id": numbers[n], "category_id": IDS[n]} for n in BOXES],
            }
        ]
        ids = drawn(numbers, 0)
        png = np.dstack([ids >> 16, ids >> 8 & 255, ids & 255]).astype(np.uint8)
        write_mask(root / "annotations" / f"panoptic_{split}" / "a_001.png", png)
        (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))


def cityscapes(root: Path) -> None:
    ids = {**IDS, "dirt": 1}  # ego vehicle
    numbered = drawn({**ids, "car": 26001, "truck": 27000}, 3)
    (root / "classes.yaml").write_text(yaml.safe_dump({**CLASSES, "void": 255}))
    for split in ("train", "val"):
        write_image(root / "leftImg8bit" / split / "ulm" / "ulm_000_001_leftImg8bit.png")
        stem = root / "gtFine" / split / "ulm" / "ulm_000_001_gtFine_"
        write_mask(Path(f"{stem}labelIds.png"), drawn(ids, 3).astype(np.uint8))
        write_mask(Path(f"{stem}instanceIds.png"), numbered.astype(np.uint16))


def numbered_masks(root: Path) -> None:
    content = {**CLASSES, "classes": [*CLASSES["classes"]], "void": [255, 0]}
    content["classes"][1] = {**CLASSES["classes"][1], "from": [26, 27]}
    (root / "classes.yaml").write_text(yaml.safe_dump(content))
    for split in ("train", "val"):
        write_image(root / "images" / split / "a_001.webp")
        write_mask(
            root / "masks" / split / "a_001.png", drawn({**IDS, "car": 26001, "truck": 27004}, 255).astype(np.uint16)
        )


def packed(root: Path) -> None:
    # Its ids are not those of Cityscapes' files: classes go by name.
    by_name = [{key: value for key, value in entry.items() if key != "id"} for entry in CLASSES["classes"]]
    (root / "frames.csv").write_text("split,city,name\ntrain,ulm,a\nval,bonn,a\n")
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": by_name, "void": [255, "wall"]}))
    packed_ids = {"road": 0, "sky": 10000, "car": 13001, "truck": 14002, "dirt": 3000}
    for split in ("train", "val"):
        write_image(root / "images" / split / "a.jpg")
        write_mask(root / "ids" / split / "a.png", drawn(packed_ids, 65535).astype(np.uint16))


def cvat(root: Path) -> None:
    lines = []
    for split in ("train", "val"):
        write_image(root / "images" / split / "a_001.png")
        lines.append(f'<image id="0" name="{split}/a_001.png" subset="{split}" width="{SIZE[1]}" height="{SIZE[0]}">')
        for k, (name, (top, bottom, left, right)) in reversed(list(enumerate(BOXES.items()))):
            corners = f"{left},{top};{right},{top};{right},{bottom};{left},{bottom}"
            lines.append(
                [
                    f'<polygon label="{name}" points="{corners}" z_order="{k}"/>',
                    f'<mask label="{name}" rle="0,{(bottom - top) * (right - left)}" left="{left}" top="{top}" '
                    f'width="{right - left}" height="{bottom - top}" z_order="{k}"/>',
                    f'<box label="{name}" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="{k}"/>',
                ][k % 3]
            )
        lines += ['<polyline label="road" points="1,1;5,5"/>', "</image>"]
    text = f"<?xml version='1.0'?><annotations><version>1.1</version>{''.join(lines)}</annotations>"
    (root / "annotations.xml").write_text(text)


def yolo(root: Path) -> None:
    (root / "data.yaml").write_text(yaml.safe_dump({"names": dict(enumerate(BOXES))}))
    for split, name in (("train", "train"), ("val", "valid")):
        write_image(root / name / "images" / "a_001.png")
        lines = []
        for k, (top, bottom, left, right) in enumerate(BOXES.values()):
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            lines.append(" ".join([str(k), *(f"{x / SIZE[1]} {y / SIZE[0]}" for x, y in corners)]))
        (root / name / "labels").mkdir()
        (root / name / "labels" / "a_001.txt").write_text("\n".join(lines) + "\n")
        del split


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "folder": ("folder", folder),
    "coco instances": ("coco", coco),
    "coco panoptic": ("coco", panoptic),
    "cityscapes": ("cityscapes", cityscapes),
    "cityscapes ids in a folder": ("cityscapes", numbered_masks),
    "packed cityscapes": ("cityscapes", packed),
    "cvat": ("cvat", cvat),
    "yolo": ("yolo-seg", yolo),
}


def write(root: Path, name: str) -> str:
    root.mkdir()
    (root / "classes.yaml").write_text(yaml.safe_dump(CLASSES))
    kind, writer = WRITERS[name]
    writer(root)
    return kind


def opened(root: Path, kind: str) -> OwnDataset:
    dataset = open_own(root, kind)
    assert dataset.listing.problems == []
    return dataset


def complaint(root: Path, kind: str) -> str:
    """What is said of data that cannot be read; where they can, their root."""
    try:
        for frame in open_own(root, kind).listing.frames:
            frame.read()
    except DataError as error:
        return str(error)
    return str(root)
