"""What ``benchmarks/closing_loop.py`` measures by: the truth of its drives against records and results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from m2a_core.files import read_json
from m2a_core.harvest.folder import Harvest
from m2a_core.labels.coco_masks import segmentation_mask
from m2a_ros.review.layout import OUTPUT_BAG
from m2a_ros.review.results import frame_results

LEAST_PIXELS = 60
"""Smaller sightings are in no figure."""
FOUND = 0.25
"""Share of an object that unknown instances must cover, as in the truth of replays."""


def kinds_of_records(harvest: Path, out: Path) -> Iterator[tuple[int, str]]:
    """Cluster and true kind of every record that is no duplicate; ``other`` where it is of neither kind."""
    opened = Harvest.open(harvest)
    for record in opened.records():
        if record.duplicate_of is not None:
            continue
        size = (record.image_height, record.image_width)
        rle = {"size": list(size), "counts": record.full_mask}
        mask = segmentation_mask(rle, size, record.id) > 0
        shares = {
            kind: float((_ids(out / record.bag / folder, record.best_stamp_ns)[mask] > 0).mean())
            for kind, folder in (("backpack", "instances"), ("cycle lane", "marks"))
        }
        kind = max(shares, key=lambda name: shares[name])
        yield record.cluster, kind if shares[kind] > 0.5 else "other"


def measure_replay(folder: Path, drive: Path) -> dict[str, float]:
    """Figures of the replay of a drive.

    Returns:
        ``missed``, the share of sightings of backpacks that unknown instances cover less than ``FOUND`` of, and
        ``backpacks``, their number; ``flagged``, the share of sightings of cycle lanes that they cover at least
        ``FOUND`` of, and ``lanes``; ``elsewhere``, unknown instances on neither, per frame, and ``frames``.
    """
    summary = read_json(folder / "summary.json")
    (bag,) = summary["bags"]
    missed, flagged, elsewhere = [], [], []
    for result in frame_results(folder / bag["name"] / OUTPUT_BAG, list(bag["topics"].values())):
        things, lanes = (_ids(drive / name, result.stamp_ns) > 0 for name in ("instances", "marks"))
        unknown = result.instances > 0
        if things.sum() >= LEAST_PIXELS:
            missed.append(float(unknown[things].mean()) < FOUND)
        if lanes.sum() >= LEAST_PIXELS:
            flagged.append(float(unknown[lanes].mean()) >= FOUND)
        others = [i for i in np.unique(result.instances[unknown]) if not (things | lanes)[result.instances == i].any()]
        elsewhere.append(len(others))
    return {
        "missed": float(np.mean(missed)),
        "backpacks": len(missed),
        "flagged": float(np.mean(flagged)),
        "lanes": len(flagged),
        "elsewhere": float(np.mean(elsewhere)),
        "frames": len(elsewhere),
    }


def _ids(folder: Path, stamp_ns: int) -> np.ndarray:
    ids = cv2.imread(str(folder / f"{stamp_ns}.png"), cv2.IMREAD_UNCHANGED)
    assert ids is not None, f"{folder}: no truth of {stamp_ns}"
    return ids
