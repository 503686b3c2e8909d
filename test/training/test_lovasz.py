"""The surrogate of mean IoU against its definition and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from m2a_core.training.lovasz import lovasz_loss

VOID = 255


def scene(seed: int, classes: int = 4, size: tuple[int, int] = (5, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [1, K, H, W] and a label with void and classes that do not occur."""
    rng = np.random.default_rng(seed)
    label = rng.choice([*range(classes), VOID], size=(1, *size))
    return rng.dirichlet(np.ones(classes), (1, *size)).transpose(0, 3, 1, 2), label


def extension(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Lovász extension of the Jaccard loss by its definition: errors times the loss' growth, set by set."""
    valid = label < probabilities.shape[1]
    probs, truth = probabilities.transpose(0, 2, 3, 1)[valid], label[valid]
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
    probabilities, label = scene(seed)
    assert float(lovasz_loss(torch.tensor(probabilities), torch.tensor(label))) == pytest.approx(
        extension(probabilities, label), abs=1e-12
    )


def test_at_hard_predictions_it_is_one_minus_the_mean_iou_of_the_classes_present() -> None:
    rng = np.random.default_rng(5)
    label, guess = rng.integers(0, 3, (1, 8, 8)), rng.integers(0, 3, (1, 8, 8))
    probabilities = torch.nn.functional.one_hot(torch.tensor(guess), 4).permute(0, 3, 1, 2).double()
    iou = jaccard_score(label.ravel(), guess.ravel(), average="macro")
    assert float(lovasz_loss(probabilities, torch.tensor(label))) == pytest.approx(1 - iou, abs=1e-12)


def test_void_pixels_have_no_gradient_and_an_image_of_void_none_at_all() -> None:
    probabilities, label = (torch.tensor(x) for x in scene(1))
    probabilities.requires_grad_()
    lovasz_loss(probabilities, label).backward()
    assert probabilities.grad is not None
    assert not probabilities.grad[(label == VOID).unsqueeze(1).expand_as(probabilities)].any()
    nothing = lovasz_loss(probabilities, torch.full_like(label, VOID))
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


@pytest.mark.parametrize("size", [(1, 1), (16, 24)])
def test_single_precision_gives_loss_and_gradient_of_double_precision(size: tuple[int, int]) -> None:
    probabilities, label = scene(7, size=size)
    results = []
    for dtype in (torch.float32, torch.float64):
        given_probabilities = torch.tensor(probabilities, dtype=dtype, requires_grad=True)
        loss = lovasz_loss(given_probabilities, torch.tensor(label))
        loss.backward()
        assert given_probabilities.grad is not None
        results.append((loss.item(), given_probabilities.grad.double()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-6)
