"""Set-valued loss: pixels whose label leaves several classes open, as coarse labels of other data sets do.

The marginal likelihood of the set, -log of the sum of its members' probabilities (Jin & Ghahramani, "Learning with
Multiple Labels", NeurIPS 2002). Ours, not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from m2a_core.training.contrastive import TINY, class_scores, identity
from m2a_core.training.targets import CLASS_SETS, Target

LEAST = 1e-3
"""Added to the sum, so that a pixel that no mask covers yet has a gradient of at most 1 / LEAST."""


def set_valued_loss(
    class_logits: Tensor,
    mask_logits: Tensor,
    targets: Sequence[Target],
    pixel_logits: Tensor | None = None,
    process_mean: Callable[[Tensor], Tensor] = identity,
) -> Tensor:
    """Mean over the pixels of all sets of -log sum of S (Eq. 3) over the set, and the same of the per-pixel head.

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].
        targets: B targets.
        pixel_logits: float [B, K, h, w] of the training-only per-pixel head, or None.
        process_mean: mean of counts over the processes of a run.

    Returns:
        Scalar, 0 where no pixel has a set.
    """
    images = [b for b, target in enumerate(targets) if bool((target.class_set > 0).any())]
    if not images:
        process_mean(mask_logits.new_zeros(()))  # The other processes wait for this one's count.
        return mask_logits.new_zeros(())
    stride = targets[0].class_set.shape[-1] // mask_logits.shape[-1]
    class_set = torch.stack([targets[b].class_set for b in images])[:, stride // 2 :: stride, stride // 2 :: stride]
    scores = [class_scores(class_logits[images], mask_logits[images])]
    if pixel_logits is not None:
        scores.append(pixel_logits[images].softmax(1))
    count = process_mean((class_set > 0).sum().to(mask_logits.dtype)).clamp(min=TINY)
    total = mask_logits.new_zeros(())
    for score in scores:
        for key, members in CLASS_SETS.items():
            likelihood = score[:, list(members)].sum(1)[class_set == key]
            total = total - torch.log((likelihood + LEAST).clamp(max=1)).sum() / count
    return total
