"""Validation during training: closed-set mIoU, and ranking of anomalies on the composed set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2a_core.labels.label_set import LabelSet
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.metrics.semantic import Confusion, mean_iou
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD, Letterbox
from m2a_core.training.composed import ComposedImage
from m2a_core.training.contrastive import class_scores
from m2a_core.training.datasets import LabelledImage
from m2a_core.training.targets import IGNORE

VOID_CLASS = "void"
"""Name of the class that the Void-train baseline learns."""


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
    device = next(model.parameters()).device
    output = model(normalise([boxed]).to(device))
    masks = F.interpolate(output.mask_logits, size=input_size, mode="bilinear", align_corners=False)
    scores = class_scores(output.class_logits, masks)[..., : geometry.valid[0], : geometry.valid[1]]
    if geometry.valid != geometry.original:
        scores = F.interpolate(scores, size=geometry.original, mode="bilinear", align_corners=False)
    return scores[0].cpu()


def validate(
    model: nn.Module,
    frames: Sequence[LabelledImage],
    composed: Sequence[ComposedImage],
    labels: LabelSet,
    input_size: tuple[int, int],
) -> dict[str, float]:
    """Measure a network.

    ``anomaly_*`` rank by f = 1 - max S (Eq. 7), ``msp_*`` by 1 - max softmax(S), the maximum-softmax baseline. A
    network with a class for void (Void-train) ranks by that class' S instead of f, and its other classes are the known
    ones.

    Args:
        model: the network; its mode is restored.
        frames: held-apart frames, for mIoU.
        composed: composed frames, for the ranking of anomalies.
        labels: the classes.
        input_size: height and width of the network's input.

    Returns:
        ``miou``, ``iou_CLASS``, ``anomaly_auprc``, ``anomaly_fpr95``, ``msp_auprc``, ``msp_fpr95``; fractions in
        [0, 1], NaN where there is nothing to measure on.
    """
    was_training = model.training
    model.eval()
    known = labels.names[:-1] if labels.names[-1] == VOID_CLASS else labels.names
    confusion = Confusion(len(known))
    for frame in frames:
        guess = predict_scores(model, frame.image, input_size)[: len(known)].argmax(0).to(torch.uint8)
        confusion.update(guess.numpy(), np.where(frame.label < len(known), frame.label, IGNORE))
    rankings = {"anomaly": PixelMetrics(), "msp": PixelMetrics()}
    for item in composed:
        scores = predict_scores(model, item.image, input_size)
        of_void, scores = scores[len(known) :], scores[: len(known)]
        anomaly = of_void[0] if len(of_void) else 1 - scores.amax(0)
        rankings["anomaly"].update(anomaly.numpy(), item.label)
        rankings["msp"].update((1 - scores.softmax(0).amax(0)).numpy(), item.label)
    model.train(was_training)
    iou = confusion.iou()
    result = {"miou": mean_iou(iou)}
    for name, metrics in rankings.items():
        measured = metrics.compute()
        result |= {f"{name}_auprc": measured.auprc, f"{name}_fpr95": measured.fpr95}
    return result | {f"iou_{name}": float(value) for name, value in zip(known, iou, strict=True)}
