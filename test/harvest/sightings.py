"""Harvests whose records have crops, masks and frames that fit each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import ObjectRecord
from test.harvest.harvests import record, write_harvest

SIZE = (48, 64)


def sighting(number: int, **changes: Any) -> ObjectRecord:
    """A record whose two crops are 24x20 pixels, the object 12x10 of them."""
    item = record(number)
    crops = tuple(f"crops/{item.id}_{i}.png" for i in range(2))
    box = (10, 20, 22, 30)
    mask = np.zeros(SIZE, np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    masks = tuple(crop.replace(".png", "_mask.png") for crop in crops)
    values = {"crop": crops[0], "mask": masks[0], "crops": crops, "masks": masks, "box": box, "full_mask": counts}
    return replace(item, **(values | changes))


def make_harvest(folder: Path, records: list[ObjectRecord]) -> Harvest:
    """Write a harvest of such records."""
    harvest = write_harvest(folder, records)
    for item in records:
        for crop, mask in zip(item.crops, item.masks, strict=True):
            cv2.imwrite(str(folder / crop), np.full((20, 24, 3), (10, 20, 200), np.uint8))
            inside = np.zeros((20, 24), np.uint8)
            inside[5:15, 6:18] = 255
            cv2.imwrite(str(folder / mask), inside)
        if item.frame:
            (folder / item.frame).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / item.frame), np.full((*SIZE, 3), 90, np.uint8))
    return harvest
