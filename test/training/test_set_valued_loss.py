"""Coarse labels: set-valued targets, their loss, and where IDD-lite has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.set_valued import LEAST, set_valued_loss
from m2a_core.training.targets import CLASS_SETS, IGNORE, Target, make_target

K, HEIGHT, WIDTH = CITYSCAPES19.num_classes, 16, 24


def target_with(label: np.ndarray) -> Target:
    return make_target(label, np.zeros(label.shape, bool), CITYSCAPES19, min_component=1, max_segments=9)


def label_with_sets() -> np.ndarray:
    label = np.full((HEIGHT, WIDTH), 3, np.uint8)
    label[:4], label[4:8, :12], label[12:, 20:] = 201, 200, IGNORE
    return label


def test_a_set_is_void_to_everything_but_its_own_loss():
    target = target_with(label_with_sets())
    assert target.classes.tolist() == [3]
    assert torch.equal(target.label == IGNORE, torch.from_numpy(label_with_sets() != 3))
    expected = np.where(label_with_sets() == 3, 0, label_with_sets()) % IGNORE
    assert np.array_equal(target.class_set.numpy(), expected)
    assert torch.equal(target.segments == -1, target.label == IGNORE)


def test_the_loss_is_the_mean_log_likelihood_of_the_sets():
    rng = np.random.default_rng(3)
    class_logits, mask_logits = rng.normal(0, 2, (2, 6, K + 1)), rng.normal(0, 2, (2, 6, HEIGHT // 4, WIDTH // 4))
    pixel_logits = rng.normal(0, 2, (2, K, HEIGHT // 4, WIDTH // 4))
    label = label_with_sets()
    targets = [target_with(np.full_like(label, 3)), target_with(label)]
    got = set_valued_loss(*map(torch.from_numpy, (class_logits, mask_logits)), targets, torch.from_numpy(pixel_logits))

    scores = np.einsum("qk,qhw->khw", softmax(class_logits[1], -1)[:, :-1], expit(mask_logits[1]))
    expected, count = 0.0, 0
    for y, x in np.ndindex(HEIGHT // 4, WIDTH // 4):
        members = CLASS_SETS.get(int(label[4 * y + 2, 4 * x + 2]))
        if members:
            count += 1
            for score in (scores, softmax(pixel_logits[1], 0)):
                expected -= np.log(min(1.0, score[list(members), y, x].sum() + LEAST))
    assert count == 9
    assert float(got) == pytest.approx(expected / count, abs=1e-12)


def test_without_sets_there_is_nothing_to_learn():
    logits = torch.zeros(1, 6, K + 1), torch.zeros(1, 6, HEIGHT // 4, WIDTH // 4)
    assert float(set_valued_loss(*logits, [target_with(np.full((HEIGHT, WIDTH), 3, np.uint8))])) == 0
