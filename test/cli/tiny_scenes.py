"""Data sets of scenes that the tiny bundle reads off the picture, for `m2a evaluate --dataset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.cli.main import main
from m2a_core.labels.builtin import CAMVID11
from test.tiny_bundle import RED, tiny_colors

COLORS = tiny_colors()


SIZE = (96, 128)


ROAD, SKY, CAR = (CAMVID11.names.index(name) for name in ("road", "sky", "car"))


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else array)


def scene(left: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky over road with a red square: RGB and class ids, 11 = the square. Edges at multiples of 4."""
    image = np.empty((*SIZE, 3), np.uint8)
    ids = np.full(SIZE, ROAD, np.uint8)
    image[:], image[:40], ids[:40] = COLORS["road"], COLORS["sky"], SKY
    image[56:80, left : left + 32], ids[56:80, left : left + 32] = RED, 11
    return image, ids


def evaluate(tmp_path: Path, dataset: str, model: Path, *options: str) -> tuple[int, dict[str, Any]]:
    out = tmp_path / "out.json"
    command = ["evaluate", "--dataset", dataset, "--root", str(tmp_path / "data"), "--model", str(model)]
    code = main([*command, "--json", str(out), *options])
    return code, json.loads(out.read_text()) if out.exists() else {}
