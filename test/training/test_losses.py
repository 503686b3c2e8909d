"""Losses in float64 against NumPy/SciPy oracles and against transformers' Mask2FormerLoss, for given points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2a_core.training.config import LossConfig
from m2a_core.training.contrastive import outlier_loss
from m2a_core.training.losses import Criterion
from m2a_core.training.matcher import mask_costs, match
from m2a_core.training.points import sample_logits, uniform_points
from m2a_core.training.targets import IGNORE, Target
from test.training import oracle

K, QUERIES, MASK_SIZE, SIZE, POINTS = 5, 6, (6, 9), (24, 36), 40
TOLERANCE = 1e-6


def given_points(seed: int = 0, count: int = POINTS) -> np.ndarray:
    """Points in [0, 1], among them the corners, whose samples reach over the edge."""
    points = np.random.default_rng(seed).random((count, 2))
    points[:4] = [(0, 0), (1, 1), (0, 1), (0.999, 0.001)]
    return points


def give(points: np.ndarray):
    """A ``draw`` that gives the first of the same points each time."""
    return lambda count, like: torch.from_numpy(points[:count]).to(like)


def random_heads(seed: int, heads: int, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0, 2, (batch, QUERIES, K + 1)), rng.normal(0, 3, (batch, QUERIES, *MASK_SIZE)))
        for _ in range(heads)
    ]


def striped_target(classes: list[int], void_columns: int = 0) -> Target:
    """Vertical stripes of equal width, one per segment; then columns of void."""
    segments = np.full(SIZE, -1, np.int64)
    width = (SIZE[1] - void_columns) // max(1, len(classes))
    label = np.full(SIZE, IGNORE, np.int64)
    for i, class_id in enumerate(classes):
        end = SIZE[1] - void_columns if i == len(classes) - 1 else (i + 1) * width
        segments[:, i * width : end], label[:, i * width : end] = i, class_id
    outlier = np.zeros(SIZE, bool)
    maps = map(torch.from_numpy, (segments, label, outlier, np.zeros(SIZE, np.int64)))
    return Target(torch.tensor(classes, dtype=torch.int64), *maps)


def planes_of(target: Target) -> np.ndarray:
    return np.stack([target.segments.numpy() == i for i in range(len(target.classes))]).astype(float)


def tensors(heads):
    return [(torch.from_numpy(c), torch.from_numpy(m)) for c, m in heads]


def criterion(points: np.ndarray, **config) -> Criterion:
    return Criterion(K, LossConfig(num_points=len(points), importance=0.0, pixel_aux=0.0, **config), give(points))


def test_sampling_at_points_agrees_with_scipy():
    maps, points = np.random.default_rng(1).normal(size=(3, *MASK_SIZE)), given_points(1)
    sampled = sample_logits(torch.from_numpy(maps)[None], torch.from_numpy(points)[None])[0]
    expected = [oracle.at_points(m, points) for m in maps]
    np.testing.assert_allclose(sampled.numpy(), expected, rtol=0, atol=1e-12)


def test_pairwise_costs_agree_with_the_oracle():
    rng = np.random.default_rng(2)
    logits, truth = rng.normal(0, 3, (4, POINTS)), rng.random((POINTS, 3))
    bce, dice = mask_costs(*map(torch.from_numpy, (logits, truth, np.ones(POINTS))))
    expected_bce = [[oracle.sigmoid_ce(x, t) for t in truth.T] for x in logits]
    expected_dice = [[oracle.dice(x, t) for t in truth.T] for x in logits]
    np.testing.assert_allclose(bce.numpy(), expected_bce, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(dice.numpy(), expected_dice, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(6))
def test_matching_is_the_cheapest_of_all_assignments_in_every_head(seed):
    heads, target, points = random_heads(seed, 2, 1), striped_target([3, 0, 3]), given_points(seed)
    planes = planes_of(target)
    sampled = np.stack([[oracle.at_points(plane, points) for plane in m[0]] for _, m in heads])
    truth = np.stack([oracle.at_points(plane, points) for plane in planes], 1)
    found = match(
        torch.from_numpy(np.stack([c[0] for c, _ in heads])),
        torch.from_numpy(sampled),
        target.classes,
        torch.from_numpy(truth),
        torch.ones(len(points), dtype=torch.float64),
        {"ce": 2.0, "bce": 5.0, "dice": 5.0},
    )
    for head, (c, m) in enumerate(heads):
        cost = oracle.cost_matrix(c[0], m[0], target.classes.tolist(), planes, points)
        assert tuple(found[head].tolist()) == oracle.best_queries(cost)


@pytest.mark.parametrize("weights", [(2.0, 5.0, 5.0), (7.0, 1.0, 0.5)])
def test_criterion_agrees_with_the_oracle_over_heads_and_images(weights):
    heads, points = random_heads(3, 3, 3), given_points(3)
    # The last image has no segment at all, and still counts in the cross-entropy.
    targets = [striped_target([0, 4, 2]), striped_target([1]), striped_target([])]
    loss = criterion(points, ce=weights[0], bce=weights[1], dice=weights[2])
    total, parts = loss(tensors(heads), targets)
    pairs = [(t.classes.tolist(), planes_of(t) if len(t.classes) else []) for t in targets[:2]] + [([], [])]
    # Void covers the empty image alone, so the mask losses of the others are Mask2Former's.
    expected = oracle.set_criterion(heads, pairs, points, weights=weights)
    assert parts == pytest.approx(expected, abs=TOLERANCE)
    assert float(total) == pytest.approx(
        sum(w * expected[k] for w, k in zip(weights, expected, strict=True)), abs=TOLERANCE
    )


@pytest.mark.slow
def test_criterion_agrees_with_transformers_mask2former(monkeypatch):
    transformers = pytest.importorskip("transformers")
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    heads, points = tensors(random_heads(4, 2, 2)), given_points(4)
    targets = [striped_target([0, 4, 2, 2]), striped_target([1, 3])]
    config = transformers.Mask2FormerConfig(
        num_labels=K, train_num_points=POINTS, importance_sample_ratio=0.0, oversample_ratio=1.0
    )
    theirs = Mask2FormerLoss(config, {}).double()
    drawn = torch.from_numpy(points)
    monkeypatch.setattr(torch, "rand", lambda n, count, two, device=None: drawn[:count].repeat(n, 1, 1))
    expected = {"ce": 0.0, "bce": 0.0, "dice": 0.0}
    for class_logits, mask_logits in heads:
        masks = [torch.from_numpy(planes_of(t)) for t in targets]
        result = theirs(mask_logits, class_logits, masks, [t.classes for t in targets])
        expected["ce"] += float(result["loss_cross_entropy"])
        expected["bce"] += float(result["loss_mask"])
        expected["dice"] += float(result["loss_dice"])
    _, parts = criterion(points)(heads, targets)
    assert parts == pytest.approx(expected, abs=TOLERANCE)


def test_no_object_weighs_a_tenth_in_a_weighted_mean():
    class_logits = torch.zeros(1, 4, K + 1, dtype=torch.float64)
    class_logits[0, 0, 2], class_logits[0, 1:, K] = 3.0, 1.0
    masks = torch.full((1, 4, *MASK_SIZE), -5.0, dtype=torch.float64)
    masks[0, 0] = 5.0
    _, parts = criterion(given_points())([(class_logits, masks)], [striped_target([2])])
    hit = np.log(np.exp(3) + K) - 3
    none = np.log(np.exp(1) + K) - 1
    assert parts["ce"] == pytest.approx((hit + 3 * 0.1 * none) / (1 + 3 * 0.1), abs=1e-9)


def test_mask_losses_are_divided_by_the_number_of_segments_of_the_whole_batch():
    heads, points = random_heads(5, 1, 1), given_points(5)
    one = criterion(points)(tensors(heads), [striped_target([0, 4, 2])])[1]
    twice = [(np.concatenate([c, c]), np.concatenate([m, m])) for c, m in heads]
    both = criterion(points)(tensors(twice), [striped_target([0, 4, 2]), striped_target([0, 4, 2])])[1]
    assert both == pytest.approx(one, abs=1e-9)
    beside_empty = criterion(points)(tensors(twice), [striped_target([0, 4, 2]), striped_target([])])[1]
    assert (beside_empty["bce"], beside_empty["dice"]) == pytest.approx((one["bce"], one["dice"]), abs=1e-9)


def test_a_batch_without_any_segment_has_no_mask_loss():
    _, parts = criterion(given_points())(tensors(random_heads(6, 2, 1)), [striped_target([])])
    assert parts["bce"] == parts["dice"] == 0.0
    assert parts["ce"] > 0


def test_points_are_chosen_where_each_mask_is_least_certain():
    config = LossConfig(num_points=20, oversample=3.0, importance=0.75, pixel_aux=0.0)
    candidates = given_points(7, 60)
    heads, target = random_heads(7, 1, 1), striped_target([1, 4])
    _, parts = Criterion(K, config, give(candidates))(tensors(heads), [target])

    class_logits, masks = heads[0][0][0], heads[0][1][0]
    planes = planes_of(target)
    queries = oracle.best_queries(oracle.cost_matrix(class_logits, masks, [1, 4], planes, candidates[:20]))
    expected = {"bce": 0.0, "dice": 0.0}
    for n, q in enumerate(queries):
        certainty = np.abs(oracle.at_points(masks[q], candidates))
        points = np.concatenate([candidates[np.argsort(certainty)[:15]], candidates[:5]])
        guess, truth = oracle.at_points(masks[q], points), oracle.at_points(planes[n], points)
        expected["bce"] += oracle.sigmoid_ce(guess, truth) / 2
        expected["dice"] += oracle.dice(guess, truth) / 2
    assert {k: parts[k] for k in expected} == pytest.approx(expected, abs=TOLERANCE)


def test_void_pixels_are_left_out_of_mask_losses_and_matching():
    points = np.random.default_rng(8).uniform(0.05, 0.95, (200, 2))
    heads, target = random_heads(8, 1, 1), striped_target([1, 4], void_columns=12)
    _, parts = criterion(points)(tensors(heads), [target])
    # Points a pixel clear of the void count fully, those inside not at all; none lies between.
    border = (SIZE[1] - 12) / SIZE[1]
    clear = points[np.abs(points[:, 0] - border) > 1 / SIZE[1]]
    inside = clear[clear[:, 0] < border]
    _, of_clear = criterion(clear)(tensors(heads), [target])
    expected = oracle.set_criterion(heads, [([1, 4], planes_of(target))], inside)
    assert of_clear == pytest.approx(expected, abs=TOLERANCE)
    assert parts["bce"] != pytest.approx(expected["bce"], abs=TOLERANCE)


def test_the_pixel_head_is_scored_by_cross_entropy_outside_void():
    target = striped_target([1, 4], void_columns=12)
    logits = torch.randn(1, K, SIZE[0] // 4, SIZE[1] // 4, dtype=torch.float64)
    loss = Criterion(K, LossConfig(num_points=POINTS), give(given_points()))
    _, parts = loss(tensors(random_heads(9, 1, 1)), [target], logits)
    label = target.label.numpy()[2::4, 2::4]
    terms = [-torch.log_softmax(logits[0, :, y, x], 0)[label[y, x]] for y, x in np.argwhere(label != IGNORE)]
    assert parts["pixel"] == pytest.approx(float(torch.stack(terms).mean()), abs=TOLERANCE)


def test_drawn_points_repeat_with_the_seed_and_keep_the_dtype():
    like = torch.zeros(1, dtype=torch.float64)
    torch.manual_seed(3)
    first = uniform_points(100, like)
    torch.manual_seed(3)
    assert torch.equal(first, uniform_points(100, like))
    assert first.dtype == torch.float64
    assert first.shape == (100, 2)
    assert 0 <= float(first.min()) < 0.1
    assert 0.9 < float(first.max()) <= 1


def outlier_case(seed: int):
    rng = np.random.default_rng(seed)
    class_logits = rng.normal(0, 1.5, (2, QUERIES, K + 1))
    mask_logits = rng.normal(-1, 2, (2, QUERIES, *MASK_SIZE))
    outlier = np.zeros((2, *SIZE), bool)
    outlier[0, 3:9, 5:20] = True
    known = ~outlier
    known[:, -4:] = False
    return class_logits, mask_logits, outlier, known


@pytest.mark.parametrize("variant", ["printed", "text", "bce"])
@pytest.mark.parametrize("margin", [0.75, 1.0])
def test_outlier_loss_agrees_with_the_oracle(variant, margin):
    case = outlier_case(10)
    config = LossConfig(contrastive=variant, margin=margin, contrastive_stride=1)
    loss = outlier_loss(*map(torch.from_numpy, case), config)
    assert float(loss) == pytest.approx(oracle.outlier_loss(*case, variant, margin), abs=TOLERANCE)


@pytest.mark.parametrize("variant", ["printed", "text", "bce"])
def test_without_outliers_only_the_known_term_is_left(variant):
    class_logits, mask_logits, _, known = outlier_case(11)
    none = np.zeros((2, *SIZE), bool)
    config = LossConfig(contrastive=variant, contrastive_stride=1)
    loss = outlier_loss(*map(torch.from_numpy, (class_logits, mask_logits, none, known)), config)
    expected = oracle.outlier_loss(class_logits, mask_logits, none, known, variant, config.margin)
    assert float(loss) == pytest.approx(expected, abs=TOLERANCE)
    assert expected > 0


def test_an_image_of_outliers_alone_has_no_known_term():
    class_logits, mask_logits, _, _ = outlier_case(12)
    everything, nothing = np.ones((2, *SIZE), bool), np.zeros((2, *SIZE), bool)
    config = LossConfig(contrastive="text", contrastive_stride=1)
    loss = outlier_loss(*map(torch.from_numpy, (class_logits, mask_logits, everything, nothing)), config)
    expected = oracle.outlier_loss(class_logits, mask_logits, everything, nothing, "text", config.margin)
    assert float(loss) == pytest.approx(expected, abs=TOLERANCE)


def test_the_variant_of_the_text_separates_and_the_printed_one_does_not():
    """Departure of the printed Eq. 13 from its text: it lowers the certainty of known pixels, too."""

    def slopes(variant: str) -> tuple[float, float]:
        class_logits = torch.full((1, 1, 2), 0.0, dtype=torch.float64)
        class_logits[..., 0] = 8.0
        masks = torch.zeros(1, 1, 1, 2, dtype=torch.float64, requires_grad=True)
        outlier = torch.tensor([[[False, True]]])
        outlier_loss(
            class_logits, masks, outlier, ~outlier, LossConfig(contrastive=variant, contrastive_stride=1)
        ).backward()
        return tuple(masks.grad.flatten().tolist())

    for variant in ("text", "bce"):
        known, outlier = slopes(variant)
        assert known < 0 < outlier
    assert min(slopes("printed")) > 0


@pytest.mark.parametrize("void_is_known", [False, True])
def test_criterion_adds_the_outlier_loss_of_every_head(void_is_known):
    heads = random_heads(13, 2, 1)
    target = striped_target([1, 4], void_columns=12)
    target.outlier[4:10, 26:32] = True
    config = {"contrastive": "text", "contrastive_stride": 1, "contrastive_weight": 0.5}
    points = given_points()
    with_outliers, parts = criterion(points, void_is_known=void_is_known, **config)(tensors(heads), [target])
    without, _ = criterion(points)(tensors(heads), [target])
    outlier = target.outlier.numpy()[None]
    known = ~outlier if void_is_known else ~outlier & (target.label.numpy() != IGNORE)
    expected = sum(oracle.outlier_loss(c, m, outlier, known, "text", 0.75) for c, m in heads)
    assert parts["contrastive"] == pytest.approx(expected, abs=TOLERANCE)
    assert float(with_outliers - without) == pytest.approx(0.5 * expected, abs=TOLERANCE)


def test_a_coarser_outlier_loss_takes_every_second_pixel():
    class_logits, mask_logits, outlier, known = map(torch.from_numpy, outlier_case(14))
    coarse = outlier_loss(class_logits, mask_logits, outlier, known, LossConfig(contrastive="text"))
    same = outlier_loss(
        class_logits,
        mask_logits,
        outlier[:, ::2, ::2],
        known[:, ::2, ::2],
        LossConfig(contrastive="text", contrastive_stride=1),
    )
    assert float(coarse) == float(same)


def test_the_outlier_loss_takes_the_maximum_before_it_interpolates():
    """As the released code; the other order is another number where the largest class changes between two pixels."""
    classes = torch.tensor([[[20.0, 0.0, 0.0], [0.0, 20.0, 0.0]]], dtype=torch.float64)
    masks = torch.full((1, 2, 1, 2), -20.0, dtype=torch.float64)
    masks[0, 0, 0, 0] = masks[0, 1, 0, 1] = 20.0
    known = torch.ones(1, 1, 3, dtype=torch.bool)
    loss = outlier_loss(classes, masks, ~known, known, LossConfig(contrastive="printed", contrastive_stride=1))
    assert float(loss) == pytest.approx(0.5, abs=1e-6)
