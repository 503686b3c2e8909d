"""The released criterion for given points: against float64 NumPy and SciPy, transformers and the training criterion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from m2a_core.training.config import LossConfig
from m2a_core.training.losses import Criterion
from m2a_core.training.official_criterion import WEIGHTS, GivenPoints, OfficialTarget, official_losses
from test.training import oracle
from test.training.test_losses import (
    POINTS,
    QUERIES,
    SIZE,
    TOLERANCE,
    K,
    give,
    given_points,
    planes_of,
    random_heads,
    striped_target,
    tensors,
)

CLASSES = [[0, 4, 2], [1], [3, 3]]


def given(seed: int, count: int = POINTS) -> torch.Tensor:
    return torch.from_numpy(given_points(seed, count))[None]


def official_targets(outlier: bool = True) -> list[OfficialTarget]:
    targets = []
    for classes in CLASSES:
        mask = torch.zeros(SIZE, dtype=torch.bool)
        mask[4:9, 20:30] = outlier and classes != [1]
        planes = torch.from_numpy(planes_of(striped_target(classes)))
        targets.append(OfficialTarget(torch.tensor(classes), planes > 0, mask))
    return targets


def expected_mask_losses(masks, planes, labels, class_logits, match_points, points_of) -> tuple[float, float]:
    """One image: sums of bce and dice over its matched masks, at points that depend on the query's mask."""
    queries = oracle.best_queries(oracle.cost_matrix(class_logits, masks, labels, planes, match_points))
    bce = dice = 0.0
    for n, q in enumerate(queries):
        points = points_of(masks[q])
        guess, truth = oracle.at_points(masks[q], points), oracle.at_points(planes[n], points)
        bce, dice = bce + oracle.sigmoid_ce(guess, truth), dice + oracle.dice(guess, truth)
    return bce, dice


@pytest.mark.parametrize("importance", [False, True])
def test_all_losses_of_all_heads_agree_with_the_oracle(importance):
    heads = random_heads(21, 3, 3)
    match_points, candidates, extra = given_points(22), given_points(23, 60), given_points(24, 10)
    points = GivenPoints(*(torch.from_numpy(p)[None] for p in (match_points, candidates)))
    if importance:
        points = replace(points, random=torch.from_numpy(extra)[None], important=30)

    def points_of(mask: np.ndarray) -> np.ndarray:
        if not importance:
            return candidates
        return np.concatenate([candidates[np.argsort(np.abs(oracle.at_points(mask, candidates)))[:30]], extra])

    targets = official_targets()
    found = official_losses(tensors(heads), targets, points, margin=0.75)
    assert len(found) == 4 * 3
    outlier = np.stack([t.outlier.numpy() for t in targets])
    pairs = [(c, planes_of(striped_target(c))) for c in CLASSES]
    for i, (class_logits, mask_logits) in enumerate(heads):
        suffix = "" if i == 2 else f"_{i}"
        sums = [
            expected_mask_losses(mask_logits[b], planes, classes, class_logits[b], match_points, points_of)
            for b, (classes, planes) in enumerate(pairs)
        ]
        expected = {
            "loss_ce": oracle.set_criterion([(class_logits, mask_logits)], pairs, match_points)["ce"],
            "loss_mask": sum(s[0] for s in sums) / 6,
            "loss_dice": sum(s[1] for s in sums) / 6,
            "loss_contrastive": oracle.outlier_loss(class_logits, mask_logits, outlier, ~outlier, "printed", 0.75),
        }
        assert {n: float(found[n + suffix]) for n in expected} == pytest.approx(expected, abs=TOLERANCE)
        assert all(found[n + suffix].dtype == torch.float64 for n in expected)


def test_points_may_differ_by_image_mask_and_head():
    """Every mask and every image takes its own row, in the order of images and of queries within an image."""
    heads, targets = random_heads(25, 2, 3), official_targets()
    matching = torch.cat([given(s) for s in (1, 2, 3)])
    of_masks = torch.cat([given(s, 20) for s in range(10, 16)])
    found = official_losses(tensors(heads), targets, [GivenPoints(matching, of_masks), GivenPoints(given(1), given(2))])
    class_logits, mask_logits = heads[0]
    row, total = 0, 0.0
    for b, classes in enumerate(CLASSES):
        planes = planes_of(striped_target(classes))
        queries = oracle.best_queries(
            oracle.cost_matrix(class_logits[b], mask_logits[b], classes, planes, matching[b].numpy())
        )
        for q in sorted(queries):
            points = of_masks[row].numpy()
            row += 1
            guess = oracle.at_points(mask_logits[b, q], points)
            total += oracle.sigmoid_ce(guess, oracle.at_points(planes[queries.index(q)], points))
    assert float(found["loss_mask_0"]) == pytest.approx(total / 6, abs=TOLERANCE)
    alone = official_losses(tensors(heads), targets, GivenPoints(given(1), given(2)))
    assert float(found["loss_mask"]) == pytest.approx(float(alone["loss_mask"]), abs=1e-12)


@pytest.mark.slow
def test_importance_sampling_agrees_with_transformers(monkeypatch):
    transformers = pytest.importorskip("transformers")
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    heads, targets = tensors(random_heads(26, 1, 2)), official_targets()[:2]
    config = transformers.Mask2FormerConfig(
        num_labels=K, train_num_points=POINTS, importance_sample_ratio=0.75, oversample_ratio=3.0
    )
    drawn = torch.from_numpy(given_points(27, 3 * POINTS))
    monkeypatch.setattr(torch, "rand", lambda n, count, two, device=None: drawn[:count].repeat(n, 1, 1))
    class_logits, mask_logits = heads[0]
    expected = Mask2FormerLoss(config, {}).double()(
        mask_logits, class_logits, [t.masks.double() for t in targets], [t.labels for t in targets]
    )
    points = GivenPoints(drawn[None, :POINTS], drawn[None], drawn[None, : POINTS // 4], 3 * POINTS // 4)
    found = official_losses(heads, targets, points, contrastive="none")
    names = {"loss_ce": "loss_cross_entropy", "loss_mask": "loss_mask", "loss_dice": "loss_dice"}
    assert {n: float(v) for n, v in found.items()} == pytest.approx(
        {ours: float(expected[theirs]) for ours, theirs in names.items()}, abs=TOLERANCE
    )


@pytest.mark.parametrize("contrastive", ["printed", "text"])
def test_the_training_criterion_gives_the_same_total_without_void(contrastive):
    heads, targets = tensors(random_heads(28, 3, 3)), official_targets()
    found = official_losses(heads, targets, GivenPoints(given(1), given(1)), contrastive=contrastive, margin=0.6)
    expected = sum(WEIGHTS[name.rstrip("_0123456789")] * float(value) for name, value in found.items())
    config = LossConfig(
        num_points=POINTS,
        importance=0.0,
        pixel_aux=0.0,
        contrastive=contrastive,
        margin=0.6,
        contrastive_stride=1,
        void_is_known=True,
    )
    ours = [replace(striped_target(c), outlier=t.outlier) for c, t in zip(CLASSES, targets, strict=True)]
    total, _ = Criterion(K, config, give(given_points(1)))(heads, ours)
    assert float(total) == pytest.approx(expected, abs=TOLERANCE)


def test_void_as_background_is_the_released_treatment():
    heads = tensors(random_heads(29, 2, 1))
    target = replace(striped_target([1, 4], void_columns=12), void_is_background=True)
    points = given_points(3)
    loss = Criterion(K, LossConfig(num_points=POINTS, importance=0.5, oversample=1.0, pixel_aux=0.0), give(points))
    _, parts = loss(heads, [target])
    official = OfficialTarget(target.classes, torch.from_numpy(planes_of(target)) > 0, target.outlier)
    given_all = GivenPoints(given(3), given(3), given(3)[:, : POINTS // 2], POINTS // 2)
    found = official_losses(heads, [official], given_all, contrastive="none")
    for ours, theirs in (("ce", "loss_ce"), ("bce", "loss_mask"), ("dice", "loss_dice")):
        assert parts[ours] == pytest.approx(float(found[theirs] + found[f"{theirs}_0"]), abs=TOLERANCE)


def test_gradients_reach_both_logits_and_an_image_without_masks_is_allowed():
    class_logits, mask_logits = (torch.from_numpy(x).requires_grad_() for x in random_heads(30, 1, 1)[0])
    nothing = torch.zeros(SIZE, dtype=torch.bool)
    empty = OfficialTarget(torch.zeros(0, dtype=torch.int64), torch.zeros(0, *SIZE), nothing)
    found = official_losses([(class_logits, mask_logits)], [empty], GivenPoints(given(1), given(1)))
    assert found["loss_mask"].item() == found["loss_dice"].item() == 0.0
    assert found["loss_ce"].item() > 0
    official_losses([(class_logits, mask_logits)], official_targets()[:1], GivenPoints(given(1), given(1)))[
        "loss_mask"
    ].backward()
    touched = mask_logits.grad.abs().sum((2, 3))[0] > 0
    assert int(touched.sum()) == len(CLASSES[0]) < QUERIES


def test_the_released_cross_entropy_takes_the_score_for_a_logit():
    heads, targets = random_heads(29, 1, 3), official_targets()
    found = official_losses(tensors(heads), targets, GivenPoints(given(1), given(1)), contrastive="bce")
    logits, outlier = [], np.stack([t.outlier.numpy() for t in targets])
    for classes, masks in zip(*heads[0], strict=True):
        scores = np.einsum("qk,qhw->khw", softmax(classes, -1)[:, :-1], expit(masks))
        logits.append(-oracle.upsample_corners(scores.max(0), outlier.shape[1:]))
    probability = expit(np.stack(logits))
    expected = (-np.log(probability[outlier]).mean() - np.log(1 - probability[~outlier]).mean()) / 2
    assert float(found["loss_contrastive"]) == pytest.approx(expected, abs=TOLERANCE)
