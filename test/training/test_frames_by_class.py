"""Frames drawn by class."""

from __future__ import annotations

import numpy as np
import torch

from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.batches import Batches
from m2a_core.training.config import AugmentConfig, DataConfig, StageConfig
from m2a_core.training.datasets import LabelledImage
from m2a_core.training.frames_by_class import LEAST, FramesByClass
from m2a_core.training.outliers import AnomalyMix
from test.training.synthetic import CAR, ROAD, SIZE

AUGMENT = AugmentConfig(crop=(64, 64), scale=(1, 1), aspect=1, rare_crop=1, letterbox=0, color=0, degrade=0)


def frame(index: int, car: int) -> LabelledImage:
    """A frame of road with so many pixels of a car in its right lower corner, the image as bright as its number."""
    label = np.full(SIZE, ROAD, np.uint8)
    if car:
        label[-12:, -(car // 12) :] = CAR
    return LabelledImage(str(index), "s", np.full((*SIZE, 3), index, np.uint8), label)


def test_every_class_is_drawn_equally_often_and_its_frames_show_it():
    frames = [frame(i, 240 if i == 7 else 0) for i in range(50)]
    by_class = FramesByClass(frames, CAMVID11.num_classes)
    rng = np.random.default_rng(0)
    drawn = [by_class.draw(rng) for _ in range(2000)]
    assert {index for index, class_id in drawn if class_id == CAR} == {7}
    assert 0.45 < np.mean([class_id == CAR for _, class_id in drawn]) < 0.55
    assert {index for index, class_id in drawn if class_id == ROAD} == set(range(50))


def test_a_few_pixels_do_not_make_a_frame_one_of_a_class():
    by_class = FramesByClass([frame(0, 0), frame(1, LEAST // 12 * 12 - 12)], CAMVID11.num_classes)
    assert set(by_class.frames) == {ROAD}


def test_sets_of_classes_and_void_count_for_none():
    nothing = LabelledImage("n", "s", np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, 255, np.uint8))
    assert FramesByClass([nothing], CAMVID11.num_classes).draw(np.random.default_rng(0)) == (0, None)


def test_crops_of_rare_frames_show_the_class_they_were_drawn_for():
    frames = [frame(i, 240 if i == 7 else 0) for i in range(50)]
    batches = Batches(frames, AnomalyMix([], []), CAMVID11, DataConfig(augment=AUGMENT), 1)
    shares = {}
    for rare in (0.0, 1.0):
        stage = StageConfig("s", iterations=20, batch_size=20, rare_frames=rare)
        labels = torch.stack([t.label for t in batches.get(stage, 0, 0)[1]])
        shares[rare] = float((labels == CAR).flatten(1).any(1).float().mean())
    assert shares[1.0] >= 0.3 > 0.1 >= shares[0.0]
