"""mIoU and open-IoU against a direct transcription of the equations."""

from __future__ import annotations

import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.metrics.semantic import Confusion, mean_iou, open_iou, weighted_open_iou


def open_iou_by_equations(predicted: np.ndarray, truth: np.ndarray, known: int) -> float:
    """Eqs. 25-26 with Z known classes and the unknown as class Z+1, void left out."""
    valid = truth != 255
    predicted, truth = predicted[valid], truth[valid]
    values = []
    for a in range(known):
        others = [i for i in range(known + 1) if i != a]
        tp = np.sum((predicted == a) & (truth == a))
        fp_ood = sum(np.sum((predicted == a) & (truth == i)) for i in others)
        fn_ood = sum(np.sum((predicted == i) & (truth == a)) for i in others)
        if tp + fp_ood + fn_ood:
            values.append(tp / (tp + fp_ood + fn_ood))
    return float(np.mean(values))


def random_frame(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (20, 30)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    truth[:2] = 255
    return predicted, truth


def test_open_iou_follows_equations_25_and_26() -> None:
    frames = [random_frame(seed, 5) for seed in range(3)]
    confusion = Confusion(5)
    for predicted, truth in frames:
        confusion.update(predicted, truth)
    expected = open_iou_by_equations(*(np.concatenate(side) for side in zip(*frames, strict=True)), known=4)
    assert open_iou(confusion) == pytest.approx(expected, abs=1e-12)


def test_open_iou_is_iou_when_the_anomaly_segmentation_is_perfect() -> None:
    predicted, truth = random_frame(0, 4)
    unknown = np.zeros(truth.shape, bool)
    unknown[5:9, 5:9] = True
    closed, opened = Confusion(4), Confusion(5)
    closed.update(predicted, np.where(unknown, 255, truth).astype(np.uint8))
    opened.update(np.where(unknown, 4, predicted).astype(np.uint8), np.where(unknown, 4, truth).astype(np.uint8))
    assert open_iou(opened) == pytest.approx(mean_iou(closed.iou()), abs=1e-12)


def test_mean_iou_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, truth = random_frame(3, 6)
    confusion = Confusion(6)
    confusion.update(predicted, truth)
    valid = truth != 255
    expected = metrics.jaccard_score(truth[valid], predicted[valid], average=None)
    assert confusion.iou() == pytest.approx(expected, abs=1e-12)


def test_an_absent_class_is_left_out_of_the_mean() -> None:
    confusion = Confusion(3)
    confusion.update(np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8))
    assert np.isnan(confusion.iou()[2])
    assert mean_iou(confusion.iou()) == pytest.approx((0.5 + 0.0) / 2)


def test_an_unlabelled_prediction_is_a_miss() -> None:
    confusion = Confusion(2)
    confusion.update(np.array([[255, 1]], np.uint8), np.array([[1, 1]], np.uint8))
    assert confusion.iou()[1] == 0.5


def test_sets_are_weighted_by_their_images() -> None:
    result = weighted_open_iou({"t5": (0.6, 1000), "t6": (0.3, 500)})
    assert result.overall == pytest.approx(0.5)
    assert weighted_open_iou({"t5": (0.6, 1000), "t6": (float("nan"), 0)}).overall == pytest.approx(0.6)


def test_foreign_ids_are_named() -> None:
    with pytest.raises(DataError, match=r"ground truth holds class ids \[7\]"):
        Confusion(3).update(np.zeros((1, 2), np.uint8), np.array([[7, 0]], np.uint8))


def test_of_nothing_there_is_no_mean(recwarn: pytest.WarningsRecorder) -> None:
    assert np.isnan(mean_iou(np.full(3, np.nan)))
    assert np.isnan(weighted_open_iou({}).overall)
    assert not recwarn.list
