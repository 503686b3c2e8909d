"""The data themselves, where they are at hand: what the reader assumes holds, and the shipped split is sound."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.batches import Batches
from m2a_core.training.composed import compose
from m2a_core.training.config import load_config
from m2a_core.training.datasets import load_cutouts
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.targets import IGNORE
from test.training.synthetic import load_camvid, write_rows

CONFIG = Path(__file__).resolve().parents[2] / "config" / "training" / "ablations.yaml"


@pytest.fixture(scope="module")
def some_camvid(real_data, tmp_path_factory) -> Path:
    """CamVid with a dozen frames of its list, the files linked."""
    root = tmp_path_factory.mktemp("camvid")
    for kind in ("images", "labels"):
        (root / kind).symlink_to(real_data / "camvid" / kind)
    with (real_data / "camvid" / "frames.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    train = [r for r in rows if r["split"] == "train"]
    write_rows(root / "frames.csv", train[::40] + [r for r in rows if r["split"] == "test"][:3])
    return root


def test_real_frames_have_known_ids_void_and_road_below_the_sky(some_camvid):
    train, held = load_camvid(some_camvid, {"train": 1}, 0.34)
    assert len(train) > len(held) > 0
    for frame in [*train, *held]:
        assert frame.image.shape == (360, 480, 3)
        assert set(np.unique(frame.label)) <= set(range(11)) | {IGNORE}
        rows = np.arange(360)[:, None] * np.ones((1, 480))
        assert rows[frame.label == CAMVID11.names.index("road")].mean() > 200
        sky = frame.label == CAMVID11.names.index("sky")
        if sky.any():
            assert rows[sky].mean() < 150
    assert (np.concatenate([f.label.ravel() for f in train]) == IGNORE).any()


def test_no_test_frame_is_a_training_frame(real_data):
    with (real_data / "camvid" / "frames.csv").open(newline="", encoding="utf-8") as file:
        by_split: dict[str, set[str]] = {}
        for row in csv.DictReader(file):
            by_split.setdefault(row["split"], set()).add(row["name"])
    assert {k: len(v) for k, v in by_split.items()} == {"train": 367, "val": 101, "test": 233}
    assert not by_split["test"] & (by_split["train"] | by_split["val"])


def test_the_shipped_kinds_to_hold_apart_exist_and_are_no_kinds_to_train_on(real_data):
    config = load_config(CONFIG)
    seen, unseen = load_cutouts(real_data / "outliers", CONFIG.parent / config.data.validation_kinds)
    assert len(seen) + len(unseen) == 249
    assert len(unseen) >= 40
    assert not {c.kind for c in seen} & {c.kind for c in unseen}
    assert all(c.rgba.shape[2] == 4 and (c.rgba[..., 3] > 0).any() for c in [*seen, *unseen])


@pytest.mark.slow
def test_a_shipped_batch_pastes_outliers_on_real_frames(real_data, some_camvid):
    config = load_config(CONFIG)
    train, held = load_camvid(some_camvid, {"train": 1}, 0.34)
    seen, unseen = load_cutouts(real_data / "outliers", CONFIG.parent / config.data.validation_kinds)
    batches = Batches(train, AnomalyMix(seen, cut_known_objects(train)), CAMVID11, config.data, config.seed)
    stage = dataclasses.replace(config.stages[-1], outlier_prob=1.0)
    images, targets = batches.get(stage, 1, 0)
    assert images.shape == (stage.batch_size, 3, *config.data.augment.crop)
    assert any(t.outlier.any() for t in targets)
    for t in targets:
        assert (t.label[t.outlier] == IGNORE).all()
        assert ((t.segments < 0) == (t.label == IGNORE)).all()
        assert len(t.classes) <= config.data.max_segments

    first, again = compose(held, unseen, 7), compose(held, unseen, 7)
    assert all(
        np.array_equal(a.image, b.image) and np.array_equal(a.label, b.label) for a, b in zip(first, again, strict=True)
    )
    for item in first:
        assert 0.0002 < (item.label == 1).mean() < 0.2
