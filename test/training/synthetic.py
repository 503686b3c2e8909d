"""Drawn road frames, cut-outs and a network small enough to train in a test."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from m2a_core.labels.builtin import CAMVID11
from m2a_core.model import build_model
from m2a_core.training.batches import Batches
from m2a_core.training.config import TrainConfig
from m2a_core.training.datasets import Cutout, LabelledImage, camvid_sources
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.strict import from_dict
from m2a_core.training.trainer import Trainer
from test.tiny_network import TINY

SIZE = (96, 128)
SKY, BUILDING, ROAD, CAR = 0, 1, 3, 8
VOID = 11


STAGES = [
    {
        "name": "known",
        "iterations": 4,
        "batch_size": 2,
        "lr": 1e-3,
        "warmup": 2,
        "known_paste_prob": 0.5,
        "loss": {"num_points": 48},
    },
    {
        "name": "outlier",
        "iterations": 4,
        "batch_size": 2,
        "lr": 1e-3,
        "warmup": 1,
        "outlier_prob": 0.9,
        "loss": {"num_points": 48, "contrastive": "text"},
    },
]


def load_camvid(root: Path, splits: dict[str, int], held_apart: float) -> list[list[LabelledImage]]:
    """Training and held-apart frames of a folder of CamVid, read; see ``camvid_sources``."""
    return [[source.read() for source in sources] for sources in camvid_sources(root, splits, held_apart)]


def draw_frame(index: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Sky, a house front, road with a car whose place depends on the index, and void at the bottom.

    Returns:
        image uint8 [H, W, 3], RGB; label uint8 [H, W] with void 11, as the files have it.
    """
    height, width = size
    rng = np.random.default_rng(index)
    label = np.full(size, SKY, np.uint8)
    label[height // 4 : height // 2] = BUILDING
    label[height // 2 :] = ROAD
    x = int(rng.integers(4, width - 40))
    label[height // 2 : height // 2 + 20, x : x + 30] = CAR
    label[-4:] = VOID
    colors = np.array([*CAMVID11.colors, (0, 0, 0)], np.float64)
    image = colors[label] * 0.8 + 20 + rng.normal(0, 6, (*size, 3))
    return np.clip(image, 0, 255).astype(np.uint8), label


def frames(count: int) -> list[LabelledImage]:
    """Drawn frames as they are in memory: void is 255."""
    result = []
    for index in range(count):
        image, label = draw_frame(index)
        result.append(LabelledImage(f"f{index}", "drive", image, np.where(label == VOID, 255, label).astype(np.uint8)))
    return result


def disc(color: tuple[int, int, int], size: int = 40) -> np.ndarray:
    """A round object, uint8 [size, size, 4]."""
    rgba = np.zeros((size, size, 4), np.uint8)
    rgba[..., :3] = color
    cv2.circle(rgba, (size // 2, size // 2), size // 2 - 2, (*color, 255), -1)
    return rgba


def cutout(kind: str, color: tuple[int, int, int]) -> Cutout:
    return Cutout(f"{kind}_0", kind, True, disc(color))


def train_config(**changes: object) -> TrainConfig:
    """Two short stages on small crops; ``changes`` replace top-level keys."""
    data = {
        "name": "test",
        "model": "tiny",
        "stages": STAGES,
        "checkpoint_every": 2,
        "validation": {"every": 3, "frames": 2, "input_size": [96, 128]},
        "data": {"max_segments": 12, "held_apart": 0.25, "augment": {"crop": [64, 96]}},
    }
    return from_dict(TrainConfig, data | changes)


def tiny_trainer(out: Path, config: TrainConfig | None = None, batches: Batches | None = None) -> Trainer:
    """A trainer of the tiny network on drawn frames; its validation measures one weight."""
    config = config or train_config()
    if batches is None:
        known = frames(4)
        mix = AnomalyMix([cutout("ball", (250, 20, 200))], cut_known_objects(known))
        batches = Batches(known, mix, CAMVID11, config.data, config.seed)
    torch.manual_seed(config.seed)
    model = build_model(TINY)
    return Trainer(config, model, CAMVID11, batches, out, lambda m: {"query": float(next(m.parameters()).sum())})


def write_camvid(root: Path, counts: dict[tuple[str, str], int]) -> None:
    """Write CamVid's layout; ``counts`` maps (split, sequence) to a number of frames."""
    rows, index = [], 0
    for (split, sequence), count in counts.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image, label = draw_frame(index)
            name = f"{sequence}_{number:05d}"
            cv2.imwrite(str(root / "images" / split / f"{name}.jpg"), image[..., ::-1])
            cv2.imwrite(str(root / "labels" / split / f"{name}.png"), label)
            rows.append({"sequence": sequence, "frame": number, "split": split, "name": name})
            index += 1
    write_rows(root / "frames.csv", rows)


def write_outliers(root: Path, kinds: dict[str, tuple[int, int, int]]) -> None:
    """Write one round cut-out per kind."""
    (root / "train").mkdir(parents=True, exist_ok=True)
    rows = []
    for kind, color in kinds.items():
        file = f"{kind}__{kind}.png"
        cv2.imwrite(str(root / "train" / file), cv2.cvtColor(disc(color), cv2.COLOR_RGBA2BGRA))
        rows.append({"file": file, "kind": kind, "type": "photo"})
    write_rows(root / "train.csv", rows)


def write_rows(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_data_root(root: Path) -> Path:
    """A data folder and, in ``config``, a training configuration for it."""
    write_camvid(root / "camvid", {("train", "A"): 8, ("train", "B"): 4, ("val", "C"): 6, ("test", "D"): 2})
    write_outliers(root / "outliers", {"ball": (250, 20, 200), "box": (20, 40, 250), "fish": (10, 250, 10)})
    (root / "config").mkdir()
    (root / "config" / "kinds.yaml").write_text("kinds: [fish]\n", encoding="utf-8")
    text = {
        "name": "drawn",
        "model": "tiny",
        "threads": 1,
        "checkpoint_every": 2,
        "stages": STAGES,
        "data": {
            "splits": {"train": 1, "val": 2},
            "held_apart": 0.25,
            "max_segments": 12,
            "validation_kinds": "kinds.yaml",
            "augment": {"crop": [64, 96]},
        },
        "validation": {"every": 4, "frames": 2, "input_size": [96, 128]},
    }
    (root / "config" / "train.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    return root
