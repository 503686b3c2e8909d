"""The surrogate of mean IoU against its definition and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from m2a_core.labels import CAMVID11
from m2a_core.training.config import LossConfig
from m2a_core.training.contrastive import class_scores
from m2a_core.training.losses import Criterion
from m2a_core.training.lovasz import lovasz_loss
from m2a_core.training.points import uniform_points
from m2a_core.training.targets import make_target

VOID = 255


def scene(seed: int, classes: int = 4, size: tuple[int, int] = (5, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Scores [1, K, H, W] in [0, 1.2] and a label with void and classes that do not occur."""
    rng = np.random.default_rng(seed)
    label = rng.choice([*range(classes), VOID], size=(1, *size))
    return rng.uniform(0, 1.2, (1, classes, *size)), label


def extension(scores: np.ndarray, label: np.ndarray) -> float:
    """Lovász extension of the Jaccard loss by its definition: errors times the loss' growth, set by set."""
    valid = label < scores.shape[1]
    probs, truth = np.minimum(scores.transpose(0, 2, 3, 1)[valid], 1), label[valid]
    losses = []
    for c in np.unique(truth):
        errors = np.abs((truth == c) - probs[:, c])
        wrong, before, total = np.zeros(len(truth), bool), 0.0, 0.0
        for i in np.argsort(-errors, kind="stable"):
            wrong[i] = True
            of_class = truth == c
            now = 1 - (of_class & ~wrong).sum() / (of_class | wrong).sum()
            total += errors[i] * (now - before)
            before = now
        losses.append(total)
    return float(np.mean(losses))


@given(st.integers(0, 10_000))
def test_is_the_lovasz_extension_of_the_jaccard_loss(seed: int) -> None:
    scores, label = scene(seed)
    assert float(lovasz_loss(torch.tensor(scores), torch.tensor(label))) == pytest.approx(
        extension(scores, label), abs=1e-12
    )


def test_at_hard_predictions_it_is_one_minus_the_mean_iou_of_the_classes_present() -> None:
    rng = np.random.default_rng(5)
    label, guess = rng.integers(0, 3, (1, 8, 8)), rng.integers(0, 3, (1, 8, 8))
    scores = torch.nn.functional.one_hot(torch.tensor(guess), 4).permute(0, 3, 1, 2).double()
    iou = jaccard_score(label.ravel(), guess.ravel(), average="macro")
    assert float(lovasz_loss(scores, torch.tensor(label))) == pytest.approx(1 - iou, abs=1e-12)


def test_void_pixels_have_no_gradient_and_an_image_of_void_none_at_all() -> None:
    scores, label = (torch.tensor(x) for x in scene(1))
    scores.requires_grad_()
    lovasz_loss(scores, label).backward()
    assert scores.grad is not None
    assert not scores.grad[(label == VOID).unsqueeze(1).expand_as(scores)].any()
    nothing = lovasz_loss(scores, torch.full_like(label, VOID))
    assert nothing.item() == 0
    nothing.backward()


def test_descent_raises_the_mean_iou() -> None:
    raw, label = (torch.tensor(x) for x in scene(2))
    logits = raw.clone().requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=20.0)
    first = lovasz_loss(logits.sigmoid(), label)
    for _ in range(50):
        optimizer.zero_grad()
        lovasz_loss(logits.sigmoid(), label).backward()
        optimizer.step()
    assert lovasz_loss(logits.sigmoid(), label).item() < 0.5 * first.item()


def test_the_criterion_adds_it_on_the_final_head_s_scores_at_half_the_resolution() -> None:
    rng = np.random.default_rng(3)
    label = rng.choice([3, 5, VOID], size=(16, 24)).astype(np.uint8)
    target = make_target(label, np.zeros(label.shape, bool), CAMVID11, min_component=1, max_segments=4)
    heads = [
        (torch.tensor(rng.normal(size=(1, 4, 12))), torch.tensor(rng.normal(size=(1, 4, 4, 6)))) for _ in range(2)
    ]

    def total(weight: float) -> float:
        config = LossConfig(num_points=8, lovasz=weight)
        return Criterion(11, config, uniform_points)(heads, [target], seeds=[1])[0].item()

    scores = torch.nn.functional.interpolate(
        class_scores(*heads[-1]), size=(8, 12), mode="bilinear", align_corners=False
    )
    expected = 3 * lovasz_loss(scores, torch.tensor(label[None, ::2, ::2].astype(np.int64))).item()
    assert total(3.0) - total(0.0) == pytest.approx(expected, abs=1e-9)
