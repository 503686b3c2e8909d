"""Hungarian matching of queries to segments with point-sampled costs (Sec. 3; Mask2Former Sec. 3.3)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def mask_costs(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Pairwise binary cross-entropy and dice costs over points.

    Args:
        logits: float [M, P].
        targets: float [P, N] in [0, 1].
        weights: float [P]: share of each point that is labelled; void points cost nothing.

    Returns:
        bce float [M, N], mean over points, and dice float [M, N].
    """
    weighted = targets * weights.unsqueeze(1)
    total = weights.sum().clamp(min=1.0)
    bce = ((F.softplus(logits) @ weights).unsqueeze(1) - logits @ weighted) / total
    probs = logits.sigmoid()
    dice = 1 - (2 * (probs @ weighted) + 1) / ((probs @ weights).unsqueeze(1) + weighted.sum(0) + 1)
    return bce, dice


@torch.no_grad()
def match(
    class_logits: Tensor,
    point_logits: Tensor,
    classes: Tensor,
    targets: Tensor,
    weights: Tensor,
    cost: dict[str, float],
) -> Tensor:
    """Assign every segment of one image to a query, for several heads at once.

    Args:
        class_logits: float [L, Q, K+1] of L heads.
        point_logits: float [L, Q, P], mask logits at the points.
        classes: int64 [N], N <= Q, class of each segment.
        targets: float [P, N], masks at the points.
        weights: float [P], labelled share of the points.
        cost: weights ``ce``, ``bce``, ``dice``.

    Returns:
        int64 [L, N], the query of each segment.
    """
    heads, queries = class_logits.shape[:2]
    bce, dice = mask_costs(point_logits.flatten(0, 1), targets, weights)
    total = cost["bce"] * bce + cost["dice"] * dice
    total = total - cost["ce"] * class_logits.softmax(-1)[..., classes].flatten(0, 1)
    # A network that broke must reach the check of the loss, which saves the batch, not end in the solver.
    matrices = total.nan_to_num().view(heads, queries, -1).transpose(1, 2).cpu().numpy()
    return torch.from_numpy(np.stack([linear_sum_assignment(m)[1] for m in matrices])).to(classes.device)
