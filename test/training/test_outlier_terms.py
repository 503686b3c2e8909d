"""What is ours in the outlier loss: one query alone for the known, objects that count alike, S that adds up to 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.config import LossConfig
from m2a_core.training.contrastive import excess_loss, outlier_loss
from m2a_core.training.losses import Criterion
from m2a_core.training.targets import OWN_CAR, make_target

Q, K, H, W = 5, 4, 6, 8


def logits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (1, Q, K + 1)), rng.normal(0, 2, (1, Q, H, W))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(a)) for a in arrays]


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A small and a large outlier, known pixels, void; and the outliers' areas."""
    outlier = np.zeros((1, H, W), bool)
    outlier[0, 0, 0], outlier[0, 2:5, 2:6] = True, True
    known = ~outlier
    known[0, :, -1] = False
    area = np.where(outlier, 12.0, 0.0)
    area[0, 0, 0] = 1
    return outlier, known, area


def terms(classes: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f (Eq. 7) and B (Eq. 17), each [1, H, W], pixel by pixel."""
    probs, claims = softmax(classes[0], -1)[:, :-1], expit(masks[0])
    f, b = np.zeros((1, H, W)), np.zeros((1, H, W))
    for y, x in np.ndindex(H, W):
        products = probs * claims[:, y, x, None]
        f[0, y, x], b[0, y, x] = 1 - products.sum(0).max(), 1 - products.max()
    return f.clip(1e-6, 1 - 1e-6), b.clip(1e-6, 1 - 1e-6)


def test_strict_judges_known_pixels_by_the_surest_query_alone_and_outliers_by_all_together():
    classes, masks = logits(1)
    outlier, known, _ = scene()
    f, b = terms(classes, masks)
    expected = 0.5 * (-np.log(1 - b[known]).mean() - np.log(f[outlier]).mean())
    config = LossConfig(contrastive="strict", contrastive_stride=1)
    assert float(outlier_loss(*tensors(classes, masks, outlier, known), config)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balance_weighs_an_outlier_pixel_by_its_object_s_area(balance):
    classes, masks = logits(2)
    outlier, known, area = scene()
    f, _ = terms(classes, masks)
    weights = np.where(area[outlier] > 0, area[outlier] ** -balance, 0)
    expected = 0.5 * (-np.log(1 - f[known]).mean() - (weights * np.log(f[outlier])).sum() / weights.sum())
    config = LossConfig(contrastive="bce", contrastive_stride=1, balance=balance)
    got = outlier_loss(*tensors(classes, masks, outlier, known), config, area=torch.from_numpy(area))
    assert float(got) == pytest.approx(expected, rel=1e-9)


def test_excess_is_what_s_adds_up_to_beyond_one():
    classes, masks = logits(3)
    masks -= 2
    total = np.einsum("qk,qhw->khw", softmax(classes[0], -1)[:, :-1], expit(masks[0])).sum(0)
    assert (total > 1).any()
    assert (total < 1).any()
    assert float(excess_loss(*tensors(classes, masks))) == pytest.approx(np.maximum(total - 1, 0).mean(), rel=1e-9)
    assert float(excess_loss(*tensors(classes, np.full_like(masks, -30.0)))) == 0


def test_the_areas_of_a_target_are_those_of_connected_outliers():
    outlier = np.zeros((32, 32), bool)
    outlier[2:4, 2:5] = outlier[10:20, 10:20] = True
    target = make_target(np.zeros((32, 32), np.uint8), outlier, CITYSCAPES19, 1, 5)
    assert target.outlier_area is not None
    area = target.outlier_area.numpy()
    assert set(area[2:4, 2:5].ravel()) == {6.0}
    assert set(area[10:20, 10:20].ravel()) == {100.0}
    assert (area[~outlier] == 0).all()


def test_pixels_of_sure_sets_are_known_to_the_outlier_loss_and_those_of_open_sets_are_not():
    rng = np.random.default_rng(4)
    heads = [tuple(tensors(rng.normal(0, 2, (1, Q, 20)), rng.normal(0, 2, (1, Q, 8, 8))))]

    def loss(key: int) -> float:
        label = np.full((32, 32), 255, np.uint8)
        label[:, :16] = key
        target = make_target(label, np.zeros(label.shape, bool), CITYSCAPES19, 1, 5, partial=True)
        criterion = Criterion(19, LossConfig(num_points=8, contrastive="strict", balance=0.5))
        return criterion(heads, [target], seeds=[1])[1]["contrastive"]

    assert loss(203) == loss(OWN_CAR) > 0
    assert loss(210) == loss(255) == 0


def test_a_balance_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="balance"):
        LossConfig(balance=1.5)
