"""Harvests for the tests, with records made up field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.harvest.folder import Harvest, write_info
from m2a_core.harvest.records import OBJECTS, ObjectRecord, harvest_hash, write_records


def record(number: int, **changes: Any) -> ObjectRecord:
    """A record whose crop is 8x6 pixels; its embedding points along axis ``number % 4``."""
    identity = f"{number:016x}"
    values: dict[str, Any] = {
        "id": identity,
        "bag": "drive_0",
        "camera": "front",
        "track_id": number + 1,
        "first_stamp_ns": 1_000 * number,
        "last_stamp_ns": 1_000 * number + 500,
        "best_stamp_ns": 1_000 * number + 100,
        "frames": 3,
        "score_mean": 0.75,
        "score_max": 0.875,
        "area_max_px": 12,
        "box": (10, 20, 14, 23),
        "crop_origin": (8, 18),
        "crop": f"crops/{identity}_0.png",
        "mask": f"crops/{identity}_0_mask.png",
        "crops": (f"crops/{identity}_0.png",),
        "masks": (f"crops/{identity}_0_mask.png",),
        "full_mask": "PPYo0",
        "image_height": 48,
        "image_width": 64,
        "embedding": np.eye(4, dtype=np.float32)[number % 4],
    }
    return ObjectRecord(**values | changes)


def write_harvest(folder: Path, records: list[ObjectRecord]) -> Harvest:
    """A finished harvest with crops of one colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in records:
        for number, (crop, mask) in enumerate(zip(item.crops, item.masks, strict=True)):
            (folder / crop).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / crop), np.full((6, 8, 3), 40 * number + 10 * item.cluster + 20, np.uint8))
            cv2.imwrite(str(folder / mask), np.pad(np.full((3, 4), 255, np.uint8), ((2, 1), (2, 2))))
    write_records(folder / OBJECTS, records)
    digest = harvest_hash((item.id, item.cluster) for item in records)
    write_info(folder, digest, {"name": "tiny", "onnx_sha256": "0" * 64}, {})
    return Harvest.open(folder)
