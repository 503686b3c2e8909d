"""Batches: determinism, and that nothing held apart is ever in one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD, PADDING_COLOR
from m2a_core.training.batches import Batches, in_order
from m2a_core.training.build import build_trainer
from m2a_core.training.config import AugmentConfig, DataConfig, StageConfig, load_config
from m2a_core.training.datasets import FramesOnDisk, FrameSource, LabelledImage, load_cutouts
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.targets import IGNORE
from m2a_core.training.transforms import augment
from test.training.synthetic import CAR, ROAD, SIZE, cutout, frames, load_camvid, train_config

PLAIN = AugmentConfig(
    crop=(96, 128), scale=(1.0, 1.0), aspect=1.0, rare_crop=0.0, letterbox=0.0, color=0.0, degrade=0.0
)
STAGE = StageConfig("outlier", iterations=100, batch_size=2, outlier_prob=1.0, known_paste_prob=0.5)


def to_rgb(batch: torch.Tensor) -> np.ndarray:
    """Undo the normalisation: float [B, H, W, 3]."""
    return batch.permute(0, 2, 3, 1).numpy() * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)


def make(data: DataConfig | None = None, seed: int = 1, known: list[LabelledImage] | None = None) -> Batches:
    known = known or frames(5)
    mix = AnomalyMix([cutout("ball", (250, 20, 200))], cut_known_objects(known))
    return Batches(known, mix, CAMVID11, data or DataConfig(augment=AugmentConfig(crop=(64, 96))), seed)


def test_a_step_gives_the_same_batch_whatever_was_asked_before():
    first = make()
    for step in range(3):
        first.get(STAGE, 0, step)
    images, targets = first.get(STAGE, 0, 3)
    again, same = make().get(STAGE, 0, 3)
    assert torch.equal(images, again)
    for a, b in zip(targets, same, strict=True):
        assert all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("classes", "segments", "label", "outlier"))


@pytest.mark.parametrize(("seed", "stage", "step"), [(2, 0, 3), (1, 1, 3), (1, 0, 4)])
def test_another_seed_stage_or_step_gives_another_batch(seed, stage, step):
    images, _ = make().get(STAGE, 0, 3)
    assert not torch.equal(images, make(seed=seed).get(STAGE, stage, step)[0])


def test_an_epoch_takes_every_frame_once():
    known = [
        LabelledImage(f"f{i}", "s", np.full((*SIZE, 3), 40 + 30 * i, np.uint8), np.full(SIZE, ROAD, np.uint8))
        for i in range(6)
    ]
    stage = StageConfig("known", iterations=10, batch_size=2)
    batches = Batches(known, AnomalyMix([], []), CAMVID11, DataConfig(augment=PLAIN), 1)
    for epoch in range(2):
        grey = [to_rgb(batches.get(stage, 0, epoch * 3 + i)[0]).mean((1, 2, 3)) for i in range(3)]
        assert sorted(np.concatenate(grey).round().tolist()) == [40, 70, 100, 130, 160, 190]


def test_frames_in_memory_stay_as_they_are():
    batches, before = make(), frames(5)
    for step in range(4):
        batches.get(STAGE, 0, step)
    for a, b in zip(batches.frames, before, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)


def test_outliers_come_as_often_as_the_stage_says():
    for probability, expected in ((0.0, 0), (1.0, 8)):
        stage = StageConfig("s", iterations=9, batch_size=8, outlier_prob=probability)
        _, targets = make(DataConfig(augment=PLAIN)).get(stage, 0, 0)
        assert sum(bool(t.outlier.any()) for t in targets) == expected


def coloured_frames() -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Frames and kinds to train on in grey and blue, those held apart in green: any green in a batch is a leak."""
    label = np.full(SIZE, ROAD, np.uint8)
    label[50:70, 30:60] = CAR
    grey, green = np.full((*SIZE, 3), 110, np.uint8), np.full((*SIZE, 3), (0, 230, 0), np.uint8)
    train = [LabelledImage(f"t{i}", "s", grey, label) for i in range(3)]
    held = [LabelledImage(f"h{i}", "s", green, label) for i in range(3)]
    return train, held


def test_no_batch_shows_a_held_apart_frame_kind_or_object():
    train, held = coloured_frames()
    seen, unseen = [cutout("box", (30, 60, 250))], [cutout("fish", (10, 250, 10))]

    def greenest(frames_used, kinds_used) -> float:
        mix = AnomalyMix(kinds_used, cut_known_objects(frames_used))
        batches = Batches(frames_used, mix, CAMVID11, DataConfig(augment=PLAIN), 1)
        rgb = np.concatenate([to_rgb(batches.get(STAGE, 0, step)[0]) for step in range(6)])
        return float((rgb[..., 1] - rgb[..., [0, 2]].max(-1)).max())

    assert greenest(train, seen) < 30
    # The probe sees each kind of leak.
    assert greenest(held, seen) > 150
    assert greenest(train, unseen) > 100


def test_the_built_run_trains_on_nothing_that_it_validates_with(data_root, tmp_path, tiny_in_zoo):
    path = data_root / "config" / "train.yaml"
    config = load_config(path)
    trainer = build_trainer(config, path.parent, data_root, tmp_path)
    train, held = load_camvid(data_root / "camvid", config.data.splits, config.data.held_apart)
    seen, unseen = load_cutouts(data_root / "outliers", path.parent / "kinds.yaml")

    assert {f.name for f in held} == {"A_00006", "A_00007", "B_00003"}
    trained = {f.name for f in trainer.batches.frames}
    assert trained == {f.name for f in train}
    assert not trained & {f.name for f in held}
    assert not any(name.startswith("D_") for name in trained)
    assert {c.kind for _, c in trainer.batches.mix.unknown} == {c.kind for c in seen} == {"ball", "box"}
    assert {c.name.split("@")[1] for _, c in trainer.batches.mix.known} <= trained
    assert {c.kind for c in unseen} == {"fish"}

    measured = trainer.validate(trainer.model)
    assert isinstance(trainer.validate, partial)
    checked = trainer.validate.keywords
    assert {f.name for f in checked["frames"]} <= {f.name for f in held}
    assert {c.name for c in checked["composed"]} <= {f.name for f in held}
    assert 0 <= measured["miou"] <= 1
    assert 0 <= measured["anomaly_auprc"] <= 1
    for item in checked["composed"]:
        covered = item.image[item.label == 1].astype(int)
        assert (covered[:, 1] - covered[:, [0, 2]].max(1)).mean() > 60, "the unseen kind is green"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "m2a-edgy"}, ConfigError, "'m2a-edgy' is unknown; known are .*m2a-edge"),
        ({"model": "r50-cityscapes"}, ConfigError, "has the classes cityscapes19, the data camvid11"),
        (
            {"data": {"max_segments": 13}},
            ConfigError,
            "max_segments: expected at most the 12 queries of 'tiny', got 13",
        ),
        ({"data": {"max_segments": 9, "splits": {"val": 1}}}, DataError, "6 frames to train on and 0 held apart"),
        ({"data": {"max_segments": 9, "held_apart": 1.0}}, DataError, "0 frames to train on and 12 held apart"),
        ({"data": {"max_segments": 9, "splits": {"test": 1}}}, DataError, "only train and val may be trained on"),
    ],
)
def test_a_run_that_cannot_be_is_refused(data_root, tmp_path, tiny_in_zoo, changes, error, message):
    data = {"max_segments": 12, "validation_kinds": "kinds.yaml", **changes.pop("data", {})}
    with pytest.raises(error, match=message):
        build_trainer(train_config(data=data, **changes), data_root / "config", data_root, tmp_path)


def test_augmentation_moves_image_label_and_outliers_together():
    image = np.full((96, 128, 3), 60, np.uint8)
    label, outlier = np.full((96, 128), ROAD, np.uint8), np.zeros((96, 128), bool)
    image[40:70, 50:90], label[40:70, 50:90] = (220, 60, 60), CAR
    image[5:25, 5:35], outlier[5:25, 5:35], label[5:25, 5:35] = (60, 60, 220), True, IGNORE
    cfg = AugmentConfig(crop=(64, 96), color=0.0, degrade=0.0, letterbox=0.3)
    off = {"car": [], "outlier": []}
    for seed in range(60):
        out, ids, where, _ = augment(image, label, outlier, cfg, np.random.default_rng(seed))
        assert out.shape == (64, 96, 3)
        assert ids.shape == where.shape == (64, 96)
        red, blue = out[..., 0].astype(int) - out[..., 2] > 80, out[..., 2].astype(int) - out[..., 0] > 80
        for name, found, true in (("car", red, ids == CAR), ("outlier", blue, where)):
            if true.any():
                off[name].append(np.count_nonzero(found ^ true) / np.count_nonzero(true) ** 0.5)
    # In lengths of the object's side: half a pixel between the two grids would already be 1.
    for name, ratios in off.items():
        assert len(ratios) > 15, name
        assert np.mean(ratios) < 0.3, name


def test_padding_is_the_mean_colour_void_and_no_outlier():
    image, label = np.full((96, 128, 3), 250, np.uint8), np.full((96, 128), ROAD, np.uint8)
    cfg = AugmentConfig(crop=(64, 96), letterbox=1.0, color=0.0, degrade=0.0)
    out, ids, where, _ = augment(image, label, np.ones((96, 128), bool), cfg, np.random.default_rng(0))
    padding = ids == IGNORE
    assert 0 < padding.mean() < 0.8
    assert (out[padding] == PADDING_COLOR).all()
    assert not where[padding].any()
    assert (out[~padding] == 250).all()
    assert where[~padding].all()


def test_colour_and_degradation_change_the_picture_alone():
    image, label = frames(1)[0].image, frames(1)[0].label
    still = AugmentConfig(crop=(96, 128), scale=(1, 1), aspect=1, flip=0, letterbox=0, color=0, degrade=0)
    vivid = AugmentConfig(crop=(96, 128), scale=(1, 1), aspect=1, flip=0, letterbox=0, color=1.0, degrade=1.0)
    nothing = np.zeros(label.shape, bool)
    same, ids, *_ = augment(image, label, nothing, still, np.random.default_rng(0))
    other, other_ids, *_ = augment(image, label, nothing, vivid, np.random.default_rng(0))
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(ids, label)
    np.testing.assert_array_equal(other_ids, label)
    assert np.abs(other.astype(int) - image).mean() > 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_named_in_one_line_also_from_a_worker_process(workers):
    def broken() -> LabelledImage:
        raise DataError("a.png: cut short")

    batches = make()
    batches.frames = FramesOnDisk([FrameSource("a", broken)])
    with pytest.raises(DataError) as caught:
        next(in_order(batches, STAGE, 0, 0, 0, 1, workers))
    assert str(caught.value) == "a.png: cut short"
