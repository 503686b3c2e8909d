"""Lovász-Softmax: a convex surrogate of mean IoU (Berman et al., CVPR 2018, Sec. 3). Ours, not in the paper."""

from __future__ import annotations

import torch
from torch import Tensor


def lovasz_loss(probabilities: Tensor, label: Tensor) -> Tensor:
    """Mean over the classes present of the Lovász extension of the Jaccard loss.

    Args:
        probabilities: float [B, K, H, W], of each class, in [0, 1].
        label: int64 [B, H, W], class id; everything outside 0..K-1 is left out.

    Returns:
        Scalar in [0, 1], 0 where no pixel is labelled. At probabilities of 0 and 1 it is the mean of 1 - IoU.
    """
    classes = probabilities.shape[1]
    valid = label < classes
    probs = probabilities.permute(0, 2, 3, 1)[valid]
    present = torch.nn.functional.one_hot(label[valid], classes).to(probs.dtype)
    errors, order = (present - probs).abs().sort(0, descending=True)
    truth = present.gather(0, order)
    total = truth.sum(0)
    intersection = total - truth.cumsum(0)
    union = total + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union.clamp(min=1.0)
    steps = torch.diff(jaccard, dim=0, prepend=jaccard.new_zeros(1, classes))
    losses = (errors * steps).sum(0)[total > 0]
    return losses.mean() if len(losses) else probabilities.sum() * 0.0
