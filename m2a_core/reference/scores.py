"""Score maps in the paper's order of operations, in PyTorch: the reference that cheaper orders are measured against.

Mask logits are upsampled to the network's padded input, then sigmoid and sum over queries (Eqs. 3 to 7), crop, and
resize of S to the image: what the authors' code does, in blocks of queries so that no tensor of Q maps at full
resolution exists. Shape legend: Q queries, K known classes, h w masks, H W image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from m2a_core.openset.refinement import MIN_CLASS_SCORE, RefinementRule

_BLOCK = 8


@dataclass(frozen=True)
class ScoreMaps:
    """Per-pixel results of one image.

    Attributes:
        anomaly: float [H, W], f (Eq. 7).
        refined: float [H, W], f^r (Eq. 15); f itself without a refinement rule.
        semantic: int64 [H, W], closed-set class id (Eq. 5).
        background: float [H, W], B (Eq. 17).
    """

    anomaly: torch.Tensor
    refined: torch.Tensor
    semantic: torch.Tensor
    background: torch.Tensor


def score_maps(
    class_logits: torch.Tensor,
    mask_logits: torch.Tensor,
    padded: tuple[int, int],
    valid: tuple[int, int],
    size: tuple[int, int],
    rule: RefinementRule | None,
) -> ScoreMaps:
    """Compute the maps of one image.

    Args:
        class_logits: float [Q, K+1], C; last = no object.
        mask_logits: float [Q, h, w], M.
        padded: height and width of the network's input.
        valid: height and width that the image takes of it, top left.
        size: H, W of the result.
        rule: which queries suppress their pixels; None for no refinement.
    """
    probabilities = class_logits.softmax(-1)
    known = probabilities[:, :-1]
    top, label = probabilities.max(-1)
    suppressed = torch.tensor(sorted(rule.suppressed) if rule else [], dtype=label.dtype, device=label.device)
    filters = torch.isin(label, suppressed) & (top > MIN_CLASS_SCORE)
    if rule is None or int(filters.sum()) < rule.min_queries:
        filters = torch.zeros_like(filters)
    weight = top if rule is not None and rule.weighted else torch.ones_like(top)

    scores = mask_logits.new_zeros((known.shape[1], *valid))
    claimed = mask_logits.new_zeros(valid)
    hidden = mask_logits.new_zeros(size)
    for start in range(0, len(mask_logits), _BLOCK):
        block = slice(start, start + _BLOCK)
        masks = _resize(mask_logits[block], padded)[:, : valid[0], : valid[1]].sigmoid()
        scores += torch.einsum("qk,qhw->khw", known[block], masks)
        claimed = torch.maximum(claimed, (known[block].amax(-1)[:, None, None] * masks).amax(0))
        if filters[block].any():
            own = weight[block][filters[block]][:, None, None] * masks[filters[block]]
            hidden = torch.maximum(hidden, _resize(own, size).amax(0))
    best, semantic = _resize(scores, size).max(0)
    anomaly = 1 - best
    inside = hidden >= 0.5 if rule is not None and rule.weighted else hidden > 0.5
    return ScoreMaps(anomaly, anomaly * ~inside, semantic, 1 - _resize(claimed[None], size)[0])


def _resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
