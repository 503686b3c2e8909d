"""The per-pixel part of the open-set heads as a torch module, for export behind the network.

Two orders of operations (``score_order``):

* ``paper``: mask logits are upsampled to the input size, then sigmoid and sum over queries, as the authors do.
  The reference; it handles Q maps at full resolution.
* ``fast``: sigmoid, sum and max S at the masks' size (stride 4), then f, S (for the classes) and the other per-pixel
  maps are upsampled. At full resolution there are K maps.

The orders differ at mask borders, where the sigmoid of an interpolated logit is steeper than the interpolated sigmoid,
and where max S of the small map passes from one class to the next without the dip that interpolated S have.

Upsampling by 4 is a 3x3 convolution to 16 phases (``_Upsample4``), and the phases are put in their places only once a
single map is left: sums and maxima over queries and classes do not care where a pixel lies. On CPUs, ONNX Runtime's
Resize of K maps alone took longer than the whole graph now does.
Shape legend: B batch, Q queries, K known classes, H W network input, h w = H/4, W/4, P = 16 phases.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2a_core.labels.label_set import LabelSet
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
        self.upsample = _Upsample4()

    def forward(
        self, class_logits: Tensor, mask_logits: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Compute the outputs.

        Args:
            class_logits: float32 [B, Q, K+1], C.
            mask_logits: float32 [B, Q, h, w], M.
            size: H, W of the maps, at most 4 h, 4 w: what lies beyond, right and below, is padding and is cut off.

        Returns:
            anomaly, refined, semantic, background, winning_query, query_masks, class_probs; see ``io_spec.OUTPUTS``.
        """
        class_probs = class_logits.softmax(-1)
        known_probs = class_probs[..., :-1]
        top = known_probs.amax(-1)[..., None, None]
        small = mask_logits.sigmoid()
        claims = top * small
        masks = small[:, :, None] if self.fast else self.upsample(mask_logits).sigmoid()
        scores = _class_scores(known_probs, masks)
        claimed = claims.amax(1)[:, None] if self.fast else (top[..., None] * masks).amax(1)
        hidden = self._hidden(class_probs, masks)
        best = scores.amax(1)
        if self.fast:
            best, claimed, hidden = self.upsample(torch.cat((best, claimed, hidden), 1)).unbind(1)
            scores = self.upsample(scores[:, :, 0])
        semantic = scores.argmax(1)
        anomaly = 1 - best
        kept = hidden < 0.5 if self.rule.weighted else hidden <= 0.5
        refined = anomaly * kept.to(anomaly.dtype)
        return (
            _place(anomaly, size),
            _place(refined, size),
            _place(semantic.to(anomaly.dtype), size).to(torch.uint8),
            _place(1 - claimed, size),
            claims.argmax(1).to(torch.int32),
            mask_logits >= 0,
            class_probs,
        )

    def class_scores(self, class_logits: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
        """What ``semantic`` is the largest of: S (Eq. 7), float32 [B, K, H, W]; arguments as `forward`."""
        known_probs = class_logits.softmax(-1)[..., :-1]
        if self.fast:
            scores = self.upsample(_class_scores(known_probs, mask_logits.sigmoid()[:, :, None])[:, :, 0])
        else:
            scores = _class_scores(known_probs, self.upsample(mask_logits).sigmoid())
        return F.pixel_shuffle(scores.flatten(1, 2), 4)[..., : size[0], : size[1]]

    def full_masks(self, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Every query's mask at the input's size, bool [B, Q, H, W]; arguments as `forward`."""
        phases = self.upsample(mask_logits).flatten(1, 2)
        return F.pixel_shuffle(phases, 4)[..., : size[0], : size[1]] >= 0

    def _hidden(self, class_probs: Tensor, masks: Tensor) -> Tensor:
        """How strongly confident stuff claims each pixel: [B, P or 1, h, w]."""
        if not self.suppressed:
            return torch.zeros_like(masks[:, 0])
        score = class_probs[..., self.suppressed].amax(-1)
        # A probability above 0.95 is the highest one, so the top class need not be looked up.
        confident = (score > MIN_CLASS_SCORE).to(masks.dtype)
        enough = (confident.sum(1, keepdim=True) >= self.rule.min_queries).to(masks.dtype)
        weight = confident * enough * (score if self.rule.weighted else 1)
        return (weight[..., None, None, None] * masks).amax(1)


def _class_scores(known_probs: Tensor, masks: Tensor) -> Tensor:
    """Known probabilities [B, Q, K] and masks [B, Q, P, h, w] to S [B, K, P, h, w]."""
    scores: Tensor = torch.matmul(known_probs.transpose(1, 2), masks.flatten(2)).unflatten(2, masks.shape[2:])
    return scores


class _Upsample4(nn.Module):
    """Bilinear upsampling by 4, half-pixel centres: [B, N, h, w] to phases [B, N, 16, h, w]; see ``_place``."""

    def __init__(self) -> None:
        super().__init__()
        # Output pixel 4 i + p lies at i + (p - 1.5) / 4 between the neighbours i - 1, i, i + 1.
        shifts = (torch.arange(4) - 1.5) / 4
        taps = torch.stack((-shifts.clamp(max=0), 1 - shifts.abs(), shifts.clamp(min=0)), 1)
        kernel = torch.einsum("iy,jx->ijyx", taps, taps).reshape(16, 1, 3, 3)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Upsample; borders repeat."""
        assert isinstance(self.kernel, Tensor)
        padded = F.pad(maps.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
        phases: Tensor = F.conv2d(padded, self.kernel).unflatten(0, maps.shape[:2])
        return phases


def _place(phases: Tensor, size: tuple[int, int]) -> Tensor:
    """Put phases in their places: [B, 16, h, w] to [B, 4 h, 4 w], cut to [B, H, W]."""
    return F.pixel_shuffle(phases, 4)[:, 0, : size[0], : size[1]]
