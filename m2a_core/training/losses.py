"""The losses of Mask2Anomaly (Eqs. 1-2, 14) with deep supervision, computed for all heads together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from m2a_core.training.config import LossConfig
from m2a_core.training.contrastive import outlier_loss
from m2a_core.training.matcher import match
from m2a_core.training.points import is_void, sample_logits, sample_segments
from m2a_core.training.targets import IGNORE, Target


@dataclass(frozen=True)
class _Pairs:
    """Matched masks of all heads of one image."""

    logits: Tensor  # [M, h, w]
    segment: Tensor  # [M]
    image: int


class Criterion:
    """Weighted sum of all losses of a stage."""

    def __init__(self, num_classes: int, config: LossConfig) -> None:
        """Keep the configuration.

        Args:
            num_classes: K.
            config: weights, sampling and outlier loss.
        """
        self.config = config
        self.class_weight = torch.ones(num_classes + 1)
        self.class_weight[-1] = config.no_object
        self.costs = {"ce": config.ce, "bce": config.bce, "dice": config.dice}

    def __call__(
        self, heads: Sequence[tuple[Tensor, Tensor]], targets: Sequence[Target], pixel_logits: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Compute the loss of a batch.

        Args:
            heads: class logits [B, Q, K+1] and mask logits [B, Q, h, w] of every supervised head, the final one last.
            targets: B targets.
            pixel_logits: float [B, K, h, w] of the training-only per-pixel head, or None.

        Returns:
            The weighted sum over heads, and the unweighted parts (sums over heads) for the log.
        """
        cfg = self.config
        class_logits = torch.stack([c for c, _ in heads])  # [L, B, Q, K+1]
        pairs, class_targets = self._match(heads, class_logits, targets)
        num_masks = max(1, sum(len(t.classes) for t in targets))
        ce = sum(
            F.cross_entropy(c.transpose(1, 2), t, self.class_weight.to(c))
            for c, t in zip(class_logits, class_targets, strict=True)
        )
        bce, dice = self._mask_losses(pairs, targets, num_masks)
        parts = {"ce": torch.as_tensor(ce), "bce": bce, "dice": dice}
        total = cfg.ce * parts["ce"] + cfg.bce * bce + cfg.dice * dice
        if pixel_logits is not None:
            parts["pixel"] = self._pixel_loss(pixel_logits, targets)
            total = total + cfg.pixel_aux * parts["pixel"]
        if cfg.contrastive != "none":
            outlier = torch.stack([t.outlier for t in targets])
            void = torch.stack([t.label for t in targets]) == IGNORE
            known = ~outlier if cfg.void_is_known else ~(outlier | void)
            terms = [outlier_loss(c, m, outlier, known, cfg) for c, m in heads]
            parts["contrastive"] = torch.stack(terms).sum()
            total = total + cfg.contrastive_weight * parts["contrastive"]
        return total, {k: float(v.detach()) for k, v in parts.items()}

    def _match(
        self, heads: Sequence[tuple[Tensor, Tensor]], class_logits: Tensor, targets: Sequence[Target]
    ) -> tuple[list[_Pairs], Tensor]:
        num_heads, _, queries, classes = class_logits.shape
        assigned = torch.full(class_logits.shape[:3], classes - 1, dtype=torch.int64)
        pairs = []
        for b, target in enumerate(targets):
            if len(target.classes) == 0:
                continue
            points = torch.rand(self.config.num_points, 2)
            masks = torch.stack([m[b] for _, m in heads])  # [L, Q, h, w]
            with torch.no_grad():
                flat = masks.detach().flatten(0, 1).unsqueeze(0)
                sampled = sample_logits(flat, points.unsqueeze(0)).view(num_heads, queries, -1)
                ids = torch.arange(len(target.classes))
                shares, weights = sample_segments(target.segments, ids, points.unsqueeze(1))
            matched = match(class_logits[:, b], sampled, target, shares, weights[:, 0], self.costs)
            for head, (query, segment) in enumerate(matched):
                assigned[head, b, query] = target.classes[segment]
            rows = torch.cat([head * queries + q for head, (q, _) in enumerate(matched)])
            pairs.append(_Pairs(masks.flatten(0, 1)[rows], torch.cat([n for _, n in matched]), b))
        return pairs, assigned

    def _mask_losses(self, pairs: list[_Pairs], targets: Sequence[Target], num_masks: int) -> tuple[Tensor, Tensor]:
        if not pairs:
            return torch.zeros(()), torch.zeros(())
        cfg = self.config
        logits = torch.cat([p.logits for p in pairs]).unsqueeze(1)  # [M, 1, h, w]
        count = logits.shape[0]
        with torch.no_grad():
            candidates = torch.rand(count, int(cfg.num_points * cfg.oversample), 2)
            uncertainty = -sample_logits(logits.detach(), candidates).squeeze(1).abs()
            for pair, rows in _rows(pairs):
                uncertainty[rows].masked_fill_(is_void(targets[pair.image].segments, candidates[rows]), -torch.inf)
            chosen = int(cfg.num_points * cfg.importance)
            top = uncertainty.topk(chosen, dim=1, sorted=False).indices.unsqueeze(2).expand(-1, -1, 2)
            points = torch.cat([candidates.gather(1, top), torch.rand(count, cfg.num_points - chosen, 2)], 1)
            samples = [
                sample_segments(targets[pair.image].segments, pair.segment.unsqueeze(1), points[rows])
                for pair, rows in _rows(pairs)
            ]
            target, weight = (torch.cat(parts) for parts in zip(*samples, strict=True))
        sampled = sample_logits(logits, points).squeeze(1)
        area = weight.sum(1).clamp(min=1.0)
        per_point = F.binary_cross_entropy_with_logits(sampled, target, reduction="none")
        bce = ((per_point * weight).sum(1) / area).sum() / num_masks
        probs = sampled.sigmoid() * weight
        overlap, sizes = (probs * target).sum(1), probs.sum(1) + (target * weight).sum(1)
        dice = (1 - (2 * overlap + 1) / (sizes + 1)).sum() / num_masks
        return bce, dice

    def _pixel_loss(self, logits: Tensor, targets: Sequence[Target]) -> Tensor:
        label = torch.stack([t.label for t in targets])
        stride = label.shape[-1] // logits.shape[-1]
        label = label[:, stride // 2 :: stride, stride // 2 :: stride]
        valid = (label != IGNORE).sum().clamp(min=1)
        return F.cross_entropy(logits, label, ignore_index=IGNORE, reduction="sum") / valid


def _rows(pairs: list[_Pairs]) -> list[tuple[_Pairs, slice]]:
    """Where each image's matched masks lie in the concatenation over images."""
    ends = torch.tensor([len(p.segment) for p in pairs]).cumsum(0).tolist()
    return [(p, slice(end - len(p.segment), end)) for p, end in zip(pairs, ends, strict=True)]
