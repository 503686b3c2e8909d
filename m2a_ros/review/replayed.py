"""A finished replay with ground truth, read from its folder for a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.errors import MALFORMED, DataError, shown
from m2a_core.files import read_json, read_json_lines
from m2a_ros.review.evaluation import FRAMES_FILE, HISTOGRAMS_FILE
from m2a_ros.review.histograms import load_histograms

Key = tuple[str, str, int, int]
"""Bag, camera, stamp, and how often that stamp came before."""


@dataclass(frozen=True)
class Replayed:
    """A replay with ground truth.

    Attributes:
        folder: its output folder.
        summary: its ``summary.json``.
        frames: (bag, camera, stamp, how often that came before) -> its line of ``truth_frames.jsonl``.
        histograms: the same key -> counts int64 [2, BINS] of anomalous and known pixels by score.
    """

    folder: Path
    summary: Mapping[str, Any]
    frames: Mapping[Key, Mapping[str, Any]]
    histograms: Mapping[Key, tuple[np.ndarray, np.ndarray]]

    @property
    def name(self) -> str:
        """What to call it: folder and model."""
        return f"{self.folder.name} ({self.summary['model']['name']})"


def load_replay(folder: Path) -> Replayed:
    """Read what a replay with ground truth left.

    Raises:
        DataError: it is not a finished replay, or has no ground truth.
    """
    if not (folder / "summary.json").is_file():
        raise DataError(f"{folder}: no finished replay (no summary.json); run `m2a replay BAG --gt DIR --out {folder}`")
    summary = read_json(folder / "summary.json")
    if not isinstance(summary, dict) or not summary.get("truth"):
        raise DataError(
            f"{folder}: was replayed without ground truth; replay into another --out with --gt or --gt-topic"
        )
    _require_summary(summary, folder / "summary.json")
    lines = read_json_lines(folder / FRAMES_FILE)
    counts = load_histograms(folder / HISTOGRAMS_FILE)
    if len(counts) != len(lines):
        raise DataError(f"{folder}: {len(lines)} frames but {len(counts)} histograms; replay again")
    seen: dict[tuple[str, str, int], int] = {}
    frames, histograms = {}, {}
    for line, filled in zip(lines, counts, strict=True):
        _require_frame(line, folder / FRAMES_FILE)
        base = (line["bag"], line["camera"], line["stamp_ns"])
        key = (*base, seen.get(base, 0))
        seen[base] = key[3] + 1
        frames[key], histograms[key] = line, filled
    return Replayed(folder, summary, frames, histograms)


def _require_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Raise DataError where the keys that a comparison reads are not what a replay writes."""
    try:
        for bag in summary["bags"]:
            hash((bag["name"], bag["sha256"]))
        exact = [summary["truth"]["pixel"][name] for name in ("auprc", "fpr95")]
        numbers = [summary["truth"].get("model_threshold"), summary.get("segment_s"), *exact]
        good = isinstance(summary["model"]["name"], str) and all(map(_is_number, numbers))
    except MALFORMED as error:
        raise DataError(f"{path}: no summary of a replay with ground truth ({shown(error)}); replay again") from error
    if not good:
        raise DataError(f"{path}: a figure is no number, or the model has no name; replay again")


def _require_frame(line: Mapping[str, Any], path: Path) -> None:
    """Raise DataError where a scored frame lacks a key, or has a value of another type."""
    texts = all(isinstance(line.get(key), str) for key in ("bag", "camera", "segment"))
    counts = [line.get(key) for key in ("stamp_ns", "recorded_ns", "n_anomaly", "n_known")]
    whole = all(isinstance(count, int) and 0 <= count < 1 << 63 for count in counts)
    if not texts or not whole or not all(key in line and _is_number(line[key]) for key in ("auprc", "missed", "false")):
        raise DataError(f"{path}: a frame lacks a key or has a value of another type ({shown(line)}); replay again")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) < 1 << 63)
