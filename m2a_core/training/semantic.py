"""Cross-entropy on the map that the segments add up to. Ours, not in the paper.

Eqs. 1-2 see segments one by one, and S of Eq. 3 is no distribution: its classes add up to what the queries claim
together. Divided by that sum it is one, and has a gradient wherever the largest class is the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2a_core.training.contrastive import TINY, identity
from m2a_core.training.targets import CLASS_SETS

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


def semantic_loss(
    probabilities: Tensor,
    label: Tensor,
    class_set: Tensor | None = None,
    process_mean: Callable[[Tensor], Tensor] = identity,
) -> Tensor:
    """Mean cross-entropy over the labelled pixels, and over those that are one of several classes.

    Of the latter it is the marginal likelihood (Jin & Ghahramani, "Learning with Multiple Labels", NeurIPS 2002). Being
    of S over its sum, it says which classes are likelier than the others and leaves open whether S is large: what looks
    like none of the set may stay an anomaly.

    Args:
        probabilities: float [B, K, H, W], of `class_probabilities`.
        label: int64 [B, H, W], class id; everything outside 0..K-1 is left out.
        class_set: int64 [B, H, W], key of `CLASS_SETS` where there is no label but a set, else 0; or None.
        process_mean: mean of counts over the processes of a run.

    Returns:
        Scalar, 0 where no pixel is labelled.
    """
    valid = label < probabilities.shape[1]
    likelihood = probabilities.gather(1, torch.where(valid, label, 0).unsqueeze(1)).squeeze(1)
    if class_set is not None:
        for key, members in CLASS_SETS.items():
            likelihood = torch.where(class_set == key, probabilities[:, list(members)].sum(1), likelihood)
        valid = valid | (class_set > 0)
    count = process_mean(valid.sum().to(probabilities.dtype)).clamp(min=TINY)
    return -(likelihood.log() * valid).sum() / count
