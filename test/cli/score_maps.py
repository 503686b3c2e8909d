"""Folders of truths and score maps for `m2a evaluate --pred --gt`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.cli.main import main
from test.metrics.smiyc_frames import frames


def write_truths(folder: Path) -> None:
    folder.mkdir(parents=True)
    for i, (_, truth) in enumerate(frames()):
        assert cv2.imwrite(str(folder / f"frame{i}_labels_semantic.png"), truth)


def write_scores(folder: Path, suffix: str) -> None:
    """Scores of 16-bit steps, so that every format holds the same ones."""
    folder.mkdir(parents=True)
    for i, (score, _) in enumerate(frames()):
        steps = np.round(score * 65535).astype(np.uint16)
        values = steps.astype(np.float32) / np.float32(65535)
        path = folder / f"frame{i}{suffix}"
        if suffix == ".npz":
            np.savez_compressed(path, anomaly=values, other=values * 0)
        elif suffix == ".npy":
            np.save(path, values)
        else:
            assert cv2.imwrite(str(path), values if suffix == ".tiff" else steps)


def evaluate(data: Path, *options: str, pred: str = "pred") -> tuple[int, dict[str, Any]]:
    out = data / "out.json"
    command = ["evaluate", "--pred", str(data / pred), "--gt", str(data / "gt"), "--json", str(out), "--workers", "1"]
    code = main([*command, *options])
    return code, json.loads(out.read_text()) if out.exists() else {}


def spoil_size(path: Path) -> None:
    np.savez(path, anomaly=np.zeros((7, 9), np.float32))
