"""Cross-entropy on S over its sum against scikit-learn and SciPy, and what it does that S alone does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.training.config import LossConfig
from m2a_core.training.losses import Criterion
from m2a_core.training.lovasz import lovasz_loss
from m2a_core.training.points import uniform_points
from m2a_core.training.semantic import LEAST, class_probabilities, semantic_loss
from m2a_core.training.targets import CLASS_SETS, make_target

VOID = 255


def scene(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [1, 4, 5, 6], some above 1, and a label with void."""
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, VOID], size=(1, 5, 6))
    return torch.tensor(rng.uniform(0, 1.5, (1, 4, 5, 6))), torch.tensor(label)


@given(st.integers(0, 10_000))
def test_is_the_log_loss_of_the_labelled_pixels(seed: int) -> None:
    scores, label = scene(seed)
    raised = scores.numpy() + LEAST
    rows = (raised / raised.sum(1, keepdims=True)).transpose(0, 2, 3, 1)
    valid = (label != VOID).numpy()
    expected = log_loss(label.numpy()[valid], rows[valid], labels=range(4))
    assert semantic_loss(class_probabilities(scores), label).item() == pytest.approx(expected, abs=1e-12)


def test_probabilities_keep_the_order_of_s_and_are_even_where_no_mask_is() -> None:
    scores, _ = scene(1)
    scores[..., 0, 0] = 0.0
    probabilities = class_probabilities(scores)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 5, 6, dtype=torch.float64))
    assert torch.equal(probabilities.argsort(1), scores.argsort(1))
    torch.testing.assert_close(probabilities[..., 0, 0], torch.full((1, 4), 0.25, dtype=torch.float64))


def test_a_wrong_class_above_one_is_still_pushed_down() -> None:
    scores = torch.tensor([1.4, 1.1]).view(1, 2, 1, 1).requires_grad_()
    semantic_loss(class_probabilities(scores), torch.ones(1, 1, 1, dtype=torch.int64)).backward()
    wrong, right = scores.grad.flatten()
    assert wrong > 0 > right


def test_void_pixels_have_no_gradient_and_an_image_of_void_none_at_all() -> None:
    scores, label = scene(2)
    scores.requires_grad_()
    semantic_loss(class_probabilities(scores), label).backward()
    assert not scores.grad[(label == VOID).unsqueeze(1).expand_as(scores)].any()
    nothing = semantic_loss(class_probabilities(scores), torch.full_like(label, VOID))
    assert nothing.item() == 0
    nothing.backward()


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    (first, here), (second, there) = scene(3), scene(4)
    both, labels = torch.cat([first, second]), torch.cat([here, there])
    mean = (labels != VOID).sum().double() / 2
    pairs = ((first, here), (second, there))
    parts = [semantic_loss(class_probabilities(s), y, process_mean=lambda _: mean) for s, y in pairs]
    assert torch.stack(parts).mean().item() == pytest.approx(
        semantic_loss(class_probabilities(both), labels).item(), abs=1e-12
    )


def test_a_set_of_classes_counts_with_the_sum_of_its_members() -> None:
    rng = np.random.default_rng(5)
    probabilities = class_probabilities(torch.tensor(rng.uniform(0, 1.5, (1, 19, 12, 15))))
    label = torch.tensor(rng.choice([3, VOID], size=(1, 12, 15)))
    choice = torch.where(label == VOID, torch.tensor(rng.choice([0, *CLASS_SETS], size=(1, 12, 15))), 0)
    assert {0, *CLASS_SETS} <= set(choice[label == VOID].tolist())
    rows, ids, keys = probabilities.numpy()[0], label.numpy()[0], choice.numpy()[0]
    terms = []
    for y, x in np.ndindex(12, 15):
        members = CLASS_SETS[keys[y, x]] if keys[y, x] else [ids[y, x]] if ids[y, x] != VOID else []
        terms += [-np.log(rows[list(members), y, x].sum())] if len(members) else []
    assert semantic_loss(probabilities, label, choice).item() == pytest.approx(np.mean(terms), abs=1e-12)


def test_a_set_of_classes_leaves_open_how_large_s_is() -> None:
    scores = torch.rand(1, 19, 1, 1, dtype=torch.float64).requires_grad_()
    void = torch.full((1, 1, 1), VOID)
    semantic_loss(class_probabilities(scores), void, torch.full_like(void, min(CLASS_SETS))).backward()
    along_s = (scores.grad * (scores.detach() + LEAST)).sum().item()
    assert abs(along_s) < 1e-12 < scores.grad.abs().max().item()


def test_the_criterion_takes_sets_of_coarse_labels_from_the_targets() -> None:
    label = np.full((16, 24), VOID, np.uint8)
    label[:, :12], label[:, 12:] = min(CLASS_SETS), max(CLASS_SETS)
    target = make_target(
        label, np.zeros(label.shape, bool), CITYSCAPES19, min_component=1, max_segments=4, partial=True
    )
    rng = np.random.default_rng(3)
    heads = [(torch.tensor(rng.normal(size=(1, 4, 20))), torch.tensor(rng.normal(size=(1, 4, 4, 6))))]
    parts = Criterion(19, LossConfig(num_points=8, semantic=1.0), uniform_points)(heads, [target], seeds=[1])[1]
    assert parts["semantic"] > 0


@pytest.mark.parametrize("name", ["semantic", "lovasz"])
def test_the_criterion_adds_both_losses_on_the_final_head_s_map_at_every_other_pixel(name: str) -> None:
    rng = np.random.default_rng(3)
    label = rng.choice([3, 5, VOID], size=(16, 24)).astype(np.uint8)
    target = make_target(label, np.zeros(label.shape, bool), CAMVID11, min_component=1, max_segments=4)
    heads = [(rng.normal(size=(1, 4, 12)), rng.normal(size=(1, 4, 4, 6))) for _ in range(2)]

    def total(weight: float) -> float:
        config = LossConfig(num_points=8, **{name: weight})
        tensors = [(torch.tensor(c), torch.tensor(m)) for c, m in heads]
        return Criterion(11, config, uniform_points)(tensors, [target], seeds=[1])[0].item()

    classes, masks = heads[-1]
    scores = np.einsum("bqk,bqhw->bkhw", softmax(classes, axis=-1)[..., :-1], expit(masks))
    upsampled = torch.nn.functional.interpolate(torch.tensor(scores), (16, 24), mode="bilinear", align_corners=False)
    upsampled, half = upsampled[..., ::2, ::2], torch.tensor(label[None, ::2, ::2].astype(np.int64))
    loss = semantic_loss if name == "semantic" else lovasz_loss
    expected = 3 * loss(class_probabilities(upsampled), half).item()
    assert total(3.0) - total(0.0) == pytest.approx(expected, abs=1e-9)
