"""Hard negatives: pasted like outliers, known in every target, and nothing changes without them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.batches import Batches
from m2a_core.training.config import AugmentConfig, DataConfig, StageConfig
from m2a_core.training.data_config import BlendConfig, HardNegativeConfig
from m2a_core.training.datasets import Cutout
from m2a_core.training.false_alarms import HardNegatives, open_hard_negatives
from m2a_core.training.outliers import AnomalyMix
from test.training.synthetic import CAR, ROAD, SIZE, cutout, disc, frames

GROUND = (3, 4)
PAINT = (250, 250, 0)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frame = frames(1)[0]
    outlier = np.zeros(SIZE, bool)
    outlier[70:90, :40] = True
    label = frame.label.copy()
    label[outlier] = 255
    return frame.image.copy(), label, outlier


def paint(kind: str = "road paint", foot: float | None = 0.8, size: float | None = 0.2) -> Cutout:
    return Cutout(f"{kind}_0", kind, True, disc(PAINT), foot, size)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), foot=st.none() | st.floats(0.05, 1.0))
def test_what_is_pasted_keeps_the_classes_of_its_surroundings(seed, foot):
    hard = HardNegatives([paint(foot=foot)], CAMVID11, {}, GROUND)
    image, label, outlier = scene()
    before_image, before_label, before_outlier = image.copy(), label.copy(), outlier.copy()
    hard.add(image, label, outlier, BlendConfig(), np.random.default_rng(seed))
    assert not np.array_equal(image, before_image)
    np.testing.assert_array_equal(label, before_label)
    assert not (outlier & ~before_outlier).any()
    cleared = before_outlier & ~outlier
    assert (label[cleared] == 255).all()


@pytest.mark.parametrize("classes", [{"road paint": "car"}, {}])
def test_a_kind_takes_the_class_that_it_is_named_for(classes):
    hard = HardNegatives([paint("road paint" if classes else "car")], CAMVID11, classes, GROUND)
    image, label, outlier = scene()
    label[label == CAR] = ROAD
    instances = np.zeros(SIZE, np.int32)
    hard.add(image, label, outlier, BlendConfig(shadow=0.0), np.random.default_rng(3), instances)
    assert (label == CAR).sum() > 20
    np.testing.assert_array_equal(instances > 0, label == CAR)
    assert not outlier[label == CAR].any()


def test_stuff_on_top_of_a_thing_leaves_no_instance_behind():
    hard = HardNegatives([paint()], CAMVID11, {"road paint": "road"}, GROUND)
    image = np.full((*SIZE, 3), 90, np.uint8)
    label = np.full(SIZE, CAR, np.uint8)
    label[50:] = ROAD
    instances = (label == CAR).astype(np.int32)
    for seed in range(20):
        hard.add(image, label, np.zeros(SIZE, bool), BlendConfig(), np.random.default_rng(seed), instances)
    assert not instances[label == ROAD].any()


def test_things_far_away_are_smaller():
    hard = HardNegatives([paint(foot=0.9, size=0.3)], CAMVID11, {}, GROUND)
    label = np.full((200, 200), ROAD, np.uint8)
    rows = []
    for seed in range(60):
        (_, y), size = hard.place(hard.cutouts[0], label, BlendConfig(on_road=1.0), np.random.default_rng(seed))
        rows.append((y, size / (0.3 * 200 * (y / 200 - 0.42) / 0.48)))
    assert min(y for y, _ in rows) < 120 < 170 < max(y for y, _ in rows)
    near = [ratio for y, ratio in rows if y > 130]
    assert 0.69 <= min(near) < max(near) <= 1.41


def batches(hard: HardNegatives | None, data: DataConfig) -> Batches:
    return Batches(frames(4), AnomalyMix([cutout("ball", (250, 20, 200))], []), CAMVID11, data, 1, None, hard)


def test_without_them_batches_are_the_same_and_with_them_outliers_stay_the_only_unknown():
    crop = AugmentConfig(crop=(64, 96))
    stage = StageConfig("outliers", iterations=50, batch_size=4, outlier_prob=0.5)
    plain, with_config = (
        batches(None, DataConfig(augment=crop)),
        DataConfig(augment=crop, hard_negatives=HardNegativeConfig(("paint",), 1.0)),
    )
    images, targets = plain.get(stage, 0, 0)
    again, _ = batches(None, with_config).get(stage, 0, 0)
    assert torch.equal(images, again)
    hard = HardNegatives([paint()], CAMVID11, {}, GROUND)
    changed, _ = batches(hard, with_config).get(stage, 0, 0)
    assert not torch.equal(images, changed)
    never = StageConfig("known", iterations=50, batch_size=4)
    for step in range(4):
        _, targets = batches(hard, with_config).get(never, 0, step)
        assert not any(t.outlier.any() for t in targets)


def write_cutouts(root: Path, rows: list[dict[str, str]]) -> None:
    (root / "train").mkdir(parents=True)
    for row in rows:
        assert cv2.imwrite(str(root / "train" / row["file"]), disc(PAINT))
    with (root / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_folder_is_read_with_the_places_that_it_holds(tmp_path):
    row = {"file": "a.png", "kind": "road paint", "type": "photo", "foot": "0.75", "size": ""}
    write_cutouts(tmp_path / "paint", [row])
    config = HardNegativeConfig(("paint",), 0.5, {"road paint": "road"})
    hard = open_hard_negatives(config, tmp_path, CAMVID11, GROUND)
    assert hard is not None
    assert [(c.foot, c.size) for c in hard.cutouts] == [(0.75, None)]
    assert hard.counts() == ["1 of road paint (as road)"]
    assert open_hard_negatives(HardNegativeConfig(), tmp_path, CAMVID11, GROUND) is None


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"road pain": "road"}, "no cut-out is of kind 'road pain'; did you mean 'road paint'"),
        ({"road paint": "raod"}, "'raod' is not a class of camvid11; did you mean 'road'"),
        ({"road paint": "water"}, "'water' is not a class of camvid11; expected one of bicyclist, building"),
    ],
)
def test_unknown_kinds_and_classes_are_named(classes, message):
    with pytest.raises(ConfigError, match=message):
        HardNegatives([paint()], CAMVID11, classes, GROUND)


@pytest.mark.parametrize("text", ["2", "half", "-0.1", "nan"])
def test_a_place_outside_the_frame_is_named(tmp_path, text):
    write_cutouts(tmp_path, [{"file": "a.png", "kind": "paint", "type": "photo", "foot": text, "size": "0.1"}])
    with pytest.raises(DataError, match=r"train\.csv: foot of a\.png: expected a share of the frame's height"):
        open_hard_negatives(HardNegativeConfig((".",), 0.1), tmp_path, CAMVID11, GROUND)


@pytest.mark.parametrize(("roots", "prob"), [((), 0.5), (("a",), 0.0), (("a",), 1.5)])
def test_probability_and_folders_belong_together(roots, prob):
    with pytest.raises(ConfigError, match="prob: expected"):
        HardNegativeConfig(roots, prob)
