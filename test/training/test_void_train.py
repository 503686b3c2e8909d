"""Void-train, the baseline of Table 4: void is one more class in targets, losses and validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from m2a_core.labels.builtin import CAMVID11
from m2a_core.model.mask2anomaly import ModelOutput
from m2a_core.training.composed import ComposedImage
from m2a_core.training.config import LossConfig
from m2a_core.training.datasets import LabelledImage
from m2a_core.training.losses import Criterion
from m2a_core.training.sources import with_void
from m2a_core.training.targets import IGNORE, make_target
from m2a_core.training.validation import validate
from test.training import oracle
from test.training.test_losses import TOLERANCE, give, given_points

VOID_LABELS = with_void(CAMVID11)
VOID, ROAD, SKY = 11, 3, 0
SIZE = (24, 36)


def scene() -> np.ndarray:
    label = np.full(SIZE, ROAD, np.uint8)
    label[:10], label[14:20, 8:20] = SKY, IGNORE
    return label


def test_void_becomes_a_segment_of_its_own_class_and_nothing_is_left_out():
    target = make_target(scene(), np.zeros(SIZE, bool), VOID_LABELS, 1, 10, void="class")
    assert sorted(target.classes.tolist()) == [SKY, ROAD, VOID]
    segment = target.classes.tolist().index(VOID)
    np.testing.assert_array_equal(target.segments.numpy() == segment, scene() == IGNORE)
    assert not (target.label == IGNORE).any()
    plain = make_target(scene(), np.zeros(SIZE, bool), CAMVID11, 1, 10)
    assert sorted(plain.classes.tolist()) == [SKY, ROAD]
    assert bool((plain.segments == -1).any())


def test_its_losses_are_those_of_one_more_class():
    rng = np.random.default_rng(3)
    heads = [(rng.normal(0, 2, (1, 6, VOID_LABELS.num_classes + 1)), rng.normal(0, 3, (1, 6, 6, 9))) for _ in range(2)]
    target = make_target(scene(), np.zeros(SIZE, bool), VOID_LABELS, 1, 10, void="class")
    points = given_points(5)
    config = LossConfig(num_points=len(points), importance=0.0, pixel_aux=0.0)
    loss = Criterion(VOID_LABELS.num_classes, config, give(points))
    _, parts = loss([(torch.from_numpy(c), torch.from_numpy(m)) for c, m in heads], [target])
    label = np.where(scene() == IGNORE, VOID, scene())
    masks = np.stack([label == c for c in target.classes.tolist()]).astype(float)
    expected = oracle.set_criterion(heads, [(target.classes.tolist(), masks)], points)
    assert parts == pytest.approx(expected, abs=TOLERANCE)


class Painter(nn.Module):
    """Query k shows class k where the red channel holds 20 k."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> ModelOutput:
        red = (images[:, :1] * 58.395 + 123.675)[..., 2::4, 2::4]
        classes = VOID_LABELS.num_classes
        masks = 20.0 - 2 * (red - 20.0 * torch.arange(classes).view(1, -1, 1, 1)).abs()
        logits = torch.full((1, classes, classes + 1), -20.0)
        logits[0, range(classes), range(classes)] = 20.0
        return ModelOutput(logits, masks, [], masks)


def test_validation_ranks_by_the_score_of_void_and_counts_only_known_classes():
    def picture(ids: np.ndarray) -> np.ndarray:
        return np.repeat((20 * ids[..., None]).astype(np.uint8), 3, 2)

    ids = np.full((64, 96), ROAD)
    ids[:32] = SKY
    frame = LabelledImage("f", "s", picture(ids), ids.astype(np.uint8))
    odd = ids.copy()
    odd[40:56, 24:64] = VOID
    image = picture(odd)
    # What no query claims: f is 1 there, the score of void 0.
    image[:24] = 250
    composed = ComposedImage("f", image, (odd == VOID).astype(np.uint8))
    found = validate(Painter(), [frame], [composed], VOID_LABELS, (64, 96))
    assert found["anomaly_auprc"] > 0.8
    assert found["miou"] > 0.95
    assert "iou_void" not in found
    assert found["iou_road"] > 0.95
