"""Files of a finished replay, as ``replay`` writes and ``review`` reads them."""

from __future__ import annotations

from pathlib import Path

from m2a_core.reporting.film import SUFFIX

FRAMES, PROBLEMS = "frames.jsonl", "problems.jsonl"
OUTPUT_BAG = "bag"
RUN = "run.json"
"""Tells the folder of a replay."""


def film_path(folder: Path, camera: str) -> Path:
    """Where the film of a camera's overlays is; ``folder`` is the bag's folder of results."""
    return folder / f"overlay_{camera}{SUFFIX}"
