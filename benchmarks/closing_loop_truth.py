"""How often the objects of a drive of ``benchmarks/harvest_bags.py`` are found in a replay of it, kind by kind."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.files import read_json
from m2a_ros.review.layout import OUTPUT_BAG
from m2a_ros.review.results import frame_results

LEAST_PIXELS = 60
"""Smaller sightings are in no figure."""
FOUND = 0.25
"""Share of an object that an unknown instance must cover, as in the truth of replays."""
SHOWS = 0.5
"""Share of that instance that must lie on objects: one that floods the road covers all of them and shows none."""


def measure_replay(folder: Path, drive: Path) -> dict[str, Any]:
    """Figures of the replay of a drive.

    Returns:
        ``found``: kind -> share of its sightings that an unknown instance covers and shows; ``sightings``: kind ->
        their number; ``elsewhere``: unknown instances on no object, per frame; ``frames``: their number.
    """
    (bag,) = read_json(folder / "summary.json")["bags"]
    kinds = json.loads((drive / "kinds.json").read_text(encoding="utf-8"))
    found: dict[str, list[bool]] = defaultdict(list)
    elsewhere = []
    for result in frame_results(folder / bag["name"] / OUTPUT_BAG, list(bag["topics"].values())):
        ids = cv2.imread(str(drive / "truth" / f"{result.stamp_ns}.png"), cv2.IMREAD_UNCHANGED)
        assert ids is not None, f"{drive}: no truth of {result.stamp_ns}"
        for number in np.unique(ids[ids > 0]).tolist():
            if np.count_nonzero(ids == number) >= LEAST_PIXELS:
                found[kinds[str(number)]].append(is_shown(ids, number, result.instances))
        others = set(np.unique(result.instances)) - set(np.unique(result.instances[ids > 0])) - {0}
        elsewhere.append(len(others))
    return {
        "found": {kind: float(np.mean(of)) for kind, of in sorted(found.items())},
        "sightings": {kind: len(of) for kind, of in sorted(found.items())},
        "elsewhere": float(np.mean(elsewhere)),
        "frames": len(elsewhere),
    }


def is_shown(ids: np.ndarray, number: int, instances: np.ndarray) -> bool:
    """Whether some instance covers at least ``FOUND`` of an object and lies on objects with ``SHOWS`` of its pixels."""
    own = instances[ids == number]
    count = int(instances.max()) + 1
    sizes, on_objects = (np.bincount(of, minlength=count) for of in (instances.ravel(), instances[ids > 0]))
    covers = np.bincount(own, minlength=count) >= FOUND * own.size
    shows = on_objects >= SHOWS * sizes
    return bool((covers & shows)[1:].any())
