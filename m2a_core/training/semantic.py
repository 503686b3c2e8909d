"""Cross-entropy on the map that the segments add up to. Ours, not in the paper.

Eqs. 1-2 see segments one by one, and S of Eq. 3 is no distribution: its classes add up to what the queries claim
together. Divided by that sum it is one, and has a gradient wherever the largest class is the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2a_core.training.contrastive import TINY, itself

LEAST = 1e-4
"""Added to every class of S, so that a pixel that no mask covers has equal classes."""


def class_probabilities(scores: Tensor) -> Tensor:
    """S over its sum.

    Args:
        scores: float [B, K, H, W], S (Eq. 3).

    Returns:
        float [B, K, H, W], in (0, 1), each pixel's sum is 1.
    """
    raised = scores + LEAST
    return raised / raised.sum(1, keepdim=True)


def semantic_loss(probabilities: Tensor, label: Tensor, share: Callable[[Tensor], Tensor] = itself) -> Tensor:
    """Mean cross-entropy over the labelled pixels.

    Args:
        probabilities: float [B, K, H, W], of `class_probabilities`.
        label: int64 [B, H, W], class id; everything outside 0..K-1 is left out.
        share: mean of counts over the processes of a run.

    Returns:
        Scalar, 0 where no pixel is labelled.
    """
    valid = label < probabilities.shape[1]
    of_label = probabilities.gather(1, torch.where(valid, label, 0).unsqueeze(1)).squeeze(1)
    count = share(valid.sum().to(probabilities.dtype)).clamp(min=TINY)
    return -(of_label.log() * valid).sum() / count
