"""Set-valued loss: pixels whose label leaves several classes open, as coarse labels of other data sets do.

The marginal likelihood of the set, -log of the sum of its members' probabilities (Jin & Ghahramani, "Learning with
Multiple Labels", NeurIPS 2002). Ours, not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from m2a_core.training.contrastive import TINY, class_scores, itself
from m2a_core.training.targets import CHOICES, Target

LEAST = 1e-3
"""Added to the sum, so that a pixel that no mask covers yet has a gradient of at most 1 / LEAST."""


def choice_loss(
    class_logits: Tensor,
    mask_logits: Tensor,
    targets: Sequence[Target],
    pixel_logits: Tensor | None = None,
    share: Callable[[Tensor], Tensor] = itself,
) -> Tensor:
    """Mean over the pixels of all sets of -log sum of S (Eq. 3) over the set, and the same of the per-pixel head.

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].
        targets: B targets.
        pixel_logits: float [B, K, h, w] of the training-only per-pixel head, or None.
        share: mean of counts over the processes of a run.

    Returns:
        Scalar, 0 where no pixel has a set.
    """
    images = [b for b, target in enumerate(targets) if bool((target.choice > 0).any())]
    if not images:
        share(mask_logits.new_zeros(()))  # The other processes wait for this one's count.
        return mask_logits.new_zeros(())
    stride = targets[0].choice.shape[-1] // mask_logits.shape[-1]
    choice = torch.stack([targets[b].choice for b in images])[:, stride // 2 :: stride, stride // 2 :: stride]
    scores = [class_scores(class_logits[images], mask_logits[images])]
    if pixel_logits is not None:
        scores.append(pixel_logits[images].softmax(1))
    count = share((choice > 0).sum().to(mask_logits.dtype)).clamp(min=TINY)
    total = mask_logits.new_zeros(())
    for score in scores:
        for key, members in CHOICES.items():
            likelihood = score[:, list(members)].sum(1)[choice == key]
            total = total - torch.log((likelihood + LEAST).clamp(max=1)).sum() / count
    return total
