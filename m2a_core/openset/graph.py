"""The per-pixel part of the open-set heads as a torch module, for export behind the network.

Two orders of operations (``score_order``):

* ``paper``: mask logits are upsampled to the input size, then sigmoid and sum over queries, as the authors do.
  The reference; it handles [Q, H, W] at full resolution.
* ``fast``: sigmoid and sum at the masks' size (stride 4), then S and the other per-pixel maps are upsampled.
  Nothing at full resolution is larger than [K, H, W].

The orders differ at mask borders only, where the sigmoid of an interpolated logit is steeper than the interpolated
sigmoid. Shape legend: B batch, Q queries, K known classes, H W network input, h w = H/4, W/4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2a_core.labels import LabelSet
from m2a_core.openset.refinement import MIN_CLASS_SCORE, Refinement, refinement_rule

ScoreOrder = Literal["paper", "fast"]


class OpenSetGraph(nn.Module):
    """Query classes and masks in, the tensors of ``io_spec.OUTPUTS`` out, in that order.

    None of them depends on a threshold that a user may move.

    Args:
        labels: the known classes.
        score_order: see the module.
        refinement: which definition of the refinement mask (Eq. 15).

    Raises:
        ConfigError: the refinement is not defined for these classes.
    """

    def __init__(
        self, labels: LabelSet, score_order: ScoreOrder = "fast", refinement: Refinement = Refinement.PAPER
    ) -> None:
        super().__init__()
        self.fast = score_order == "fast"
        self.rule = refinement_rule(labels, refinement)
        self.suppressed = sorted(self.rule.suppressed)

    def forward(
        self, class_logits: Tensor, mask_logits: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Compute the outputs.

        Args:
            class_logits: float32 [B, Q, K+1], C.
            mask_logits: float32 [B, Q, h, w], M.
            size: H, W of the network's input.

        Returns:
            anomaly, refined, semantic, background, winning_query, query_masks, class_probs; see ``io_spec.OUTPUTS``.
        """
        class_probs = class_logits.softmax(-1)
        known = class_probs[..., :-1].amax(-1)[..., None, None]
        small = mask_logits.sigmoid()
        winning_query = (known * small).argmax(1).to(torch.int32)
        masks = small if self.fast else _resize(mask_logits, size).sigmoid()
        scores = torch.matmul(class_probs[..., :-1].transpose(1, 2), masks.flatten(2)).unflatten(2, masks.shape[2:])
        background = 1 - (known * masks).amax(1)
        hidden, limit = self._suppression(class_probs, masks)
        if self.fast:
            scores = _resize(scores, size)
            background, hidden = _resize(torch.stack((background, hidden), 1), size).unbind(1)
        best, semantic = scores.max(1)
        anomaly = 1 - best
        suppressed = hidden >= limit if self.rule.weighted else hidden > limit
        refined = torch.where(suppressed, torch.zeros_like(anomaly), anomaly)
        return (
            anomaly,
            refined,
            semantic.to(torch.uint8),
            background,
            winning_query,
            mask_logits >= 0,
            class_probs,
        )

    def _suppression(self, class_probs: Tensor, masks: Tensor) -> tuple[Tensor, float]:
        """How strongly confident stuff claims each pixel, of the masks' size, and from where on it is suppressed."""
        if not self.suppressed:
            return torch.zeros_like(masks[:, 0]), 1.0
        score = class_probs[..., self.suppressed].amax(-1)
        # A probability above 0.95 is the highest one, so the top class need not be looked up.
        confident = (score > MIN_CLASS_SCORE).to(masks.dtype)
        enough = (confident.sum(1, keepdim=True) >= self.rule.min_queries).to(masks.dtype)
        weight = confident * enough * (score if self.rule.weighted else 1)
        return (weight[..., None, None] * masks).amax(1), 0.5


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, half-pixel centres."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
