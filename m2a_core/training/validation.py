"""Validation during training: closed-set mIoU, and ranking of anomalies on the composed set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, roc_curve
from torch import Tensor, nn

from m2a_core.labels import LabelSet
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD, Letterbox
from m2a_core.training.composed import ComposedImage
from m2a_core.training.contrastive import class_scores
from m2a_core.training.datasets import LabelledImage
from m2a_core.training.targets import IGNORE


def normalise(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 [H, W, 3] images to float32 [B, 3, H, W], as the exported graph does it."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (batch - mean) / std


@torch.no_grad()
def predict_scores(model: nn.Module, image: np.ndarray, input_size: tuple[int, int]) -> Tensor:
    """S (Eq. 3) of one image at the image's own size; mask logits are upsampled before the sigmoid.

    Args:
        model: network in evaluation mode.
        image: uint8 [H, W, 3], RGB.
        input_size: height and width of the network's input.

    Returns:
        float [K, H, W].
    """
    boxed, geometry = Letterbox(input_size).apply(image)
    output = model(normalise([boxed]))
    masks = F.interpolate(output.mask_logits, size=input_size, mode="bilinear", align_corners=False)
    scores = class_scores(output.class_logits, masks)[..., : geometry.valid[0], : geometry.valid[1]]
    if geometry.valid != geometry.original:
        scores = F.interpolate(scores, size=geometry.original, mode="bilinear", align_corners=False)
    return scores[0]


def mean_iou(confusion: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean over classes that occur, and per-class IoU (NaN where a class occurs in neither), of int [K, K]."""
    overlap = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - overlap
    iou = np.divide(overlap, union, out=np.full(len(overlap), np.nan), where=union > 0)
    return float(np.nanmean(iou)), iou


def ranking(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Average precision, and the false-positive rate where 95 % of the positives are found.

    Args:
        scores: float [N], higher = more anomalous.
        truth: bool [N].
    """
    false_rate, true_rate, _ = roc_curve(truth, scores)
    return float(average_precision_score(truth, scores)), float(false_rate[np.argmax(true_rate >= 0.95)])


def validate(
    model: nn.Module,
    frames: Sequence[LabelledImage],
    composed: Sequence[ComposedImage],
    labels: LabelSet,
    input_size: tuple[int, int],
) -> dict[str, float]:
    """Measure a network.

    ``anomaly_*`` rank by f = 1 - max S (Eq. 7), ``msp_*`` by 1 - max softmax(S), the maximum-softmax baseline.

    Args:
        model: the network; its mode is restored.
        frames: held-apart frames, for mIoU.
        composed: composed frames, for the ranking of anomalies.
        labels: the classes.
        input_size: height and width of the network's input.

    Returns:
        ``miou``, ``iou_CLASS``, ``anomaly_auprc``, ``anomaly_fpr95``, ``msp_auprc``, ``msp_fpr95``; shares of 1.
    """
    was_training = model.training
    model.eval()
    size = labels.num_classes
    confusion = np.zeros((size, size), np.int64)
    for frame in frames:
        guess = predict_scores(model, frame.image, input_size).argmax(0).numpy()
        valid = frame.label != IGNORE
        pairs = frame.label[valid].astype(np.int64) * size + guess[valid]
        confusion += np.bincount(pairs, minlength=size * size).reshape(size, size)
    anomaly, softmax, truth = [], [], []
    for item in composed:
        scores = predict_scores(model, item.image, input_size)
        valid = torch.from_numpy(item.label != 255)
        anomaly.append((1 - scores.amax(0))[valid].numpy())
        softmax.append((1 - scores.softmax(0).amax(0))[valid].numpy())
        truth.append(item.label[valid.numpy()] == 1)
    model.train(was_training)
    miou, iou = mean_iou(confusion)
    result = {"miou": miou}
    labelled = np.concatenate(truth)
    for name, values in (("anomaly", anomaly), ("msp", softmax)):
        result[f"{name}_auprc"], result[f"{name}_fpr95"] = ranking(np.concatenate(values), labelled)
    return result | {f"iou_{n}": float(v) for n, v in zip(labels.names, iou, strict=True)}
