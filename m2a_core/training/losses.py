"""The losses of Mask2Anomaly (Eqs. 1-2, 14) with deep supervision, computed for all heads together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from m2a_core.training.config import LossConfig
from m2a_core.training.contrastive import TINY, class_scores, excess_loss, identity, outlier_loss
from m2a_core.training.lovasz import lovasz_loss
from m2a_core.training.matcher import match
from m2a_core.training.points import is_void, sample_logits, sample_planes, segment_planes, uniform_points
from m2a_core.training.semantic import class_probabilities, semantic_loss
from m2a_core.training.set_valued import set_valued_loss
from m2a_core.training.targets import IGNORE, SURE_CLASS_SETS, Target

UNKNOWN_CLASS = -100
"""Class target of queries of which nothing is known; the cross-entropy leaves them out."""


class Criterion:
    """Weighted sum of all losses of a stage."""

    def __init__(
        self,
        num_classes: int,
        config: LossConfig,
        draw: Callable[[int, Tensor], Tensor] = uniform_points,
        process_mean: Callable[[Tensor], Tensor] = identity,
    ) -> None:
        """Keep the configuration.

        Args:
            num_classes: K.
            config: weights, sampling and outlier loss.
            draw: gives the points of an image, called as ``draw(count, like)`` in this order: those of the matching,
                then the candidates of the importance sampling, then the other points of the mask losses.
            process_mean: mean of a count over the processes of a run; each process' loss is its own sum divided by
                it, so that the mean of the gradients is that of the whole batch.
        """
        self.config, self.draw, self.process_mean = config, draw, process_mean
        self.class_weight = torch.ones(num_classes + 1, dtype=torch.float64)
        self.class_weight[-1] = config.no_object
        self.costs = {"ce": config.ce, "bce": config.bce, "dice": config.dice}

    def __call__(
        self,
        heads: Sequence[tuple[Tensor, Tensor]],
        targets: Sequence[Target],
        pixel_logits: Tensor | None = None,
        seeds: Sequence[int] | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """Compute the loss of a batch.

        Args:
            heads: class logits [B, Q, K+1] and mask logits [B, Q, h, w] of every supervised head, the final one last.
            targets: B targets.
            pixel_logits: float [B, K, h, w] of the training-only per-pixel head, or None.
            seeds: of each image's points; None: points are drawn from the generator as it is.

        Returns:
            The weighted sum over heads, and the unweighted parts (sums over heads) for the log.
        """
        cfg = self.config
        class_logits = torch.stack([c for c, _ in heads])  # [L, B, Q, K+1]
        class_targets, bce, dice = self._mask_losses(heads, class_logits, targets, seeds)
        class_weight = self.class_weight.to(class_logits)
        counted = class_targets != UNKNOWN_CLASS
        weights = (class_weight[class_targets * counted] * counted).sum((1, 2))
        sums = [
            F.cross_entropy(c.transpose(1, 2), t, class_weight, reduction="sum")
            for c, t in zip(class_logits, class_targets, strict=True)
        ]
        ce = (torch.stack(sums) / self.process_mean(weights).clamp(min=TINY)).sum()
        parts = {"ce": ce, "bce": bce, "dice": dice}
        total = cfg.ce * parts["ce"] + cfg.bce * bce + cfg.dice * dice
        if pixel_logits is not None:
            parts["pixel"] = self._pixel_loss(pixel_logits, targets)
            total = total + cfg.pixel_aux * parts["pixel"]
        if cfg.choice > 0:
            parts["choice"] = set_valued_loss(*heads[-1], targets, pixel_logits, self.process_mean)
            total = total + cfg.choice * parts["choice"]
        if cfg.semantic > 0 or cfg.lovasz > 0:
            label, class_set = (torch.stack([getattr(t, name) for t in targets]) for name in ("label", "class_set"))
            label, class_set = label[:, ::2, ::2], class_set[:, ::2, ::2]
            probabilities = self._map(*heads[-1], targets[0].label)
            if cfg.semantic > 0:
                sets = class_set if bool(class_set.any()) else None
                parts["semantic"] = semantic_loss(probabilities, label, sets, self.process_mean)
                total = total + cfg.semantic * parts["semantic"]
            if cfg.lovasz > 0:
                parts["lovasz"] = lovasz_loss(probabilities, label)
                total = total + cfg.lovasz * parts["lovasz"]
        if cfg.excess > 0:
            parts["excess"] = excess_loss(*heads[-1])
            total = total + cfg.excess * parts["excess"]
        if cfg.contrastive != "none":
            label, class_set, outlier = (
                torch.stack([getattr(t, name) for t in targets]) for name in ("label", "class_set", "outlier")
            )
            area = torch.stack([_area(t) for t in targets]) if cfg.balance > 0 else None
            void = (label == IGNORE) & ~torch.isin(class_set, class_set.new_tensor(SURE_CLASS_SETS))
            known = ~outlier if cfg.void_is_known else ~(outlier | void)
            terms = [outlier_loss(c, m, outlier, known, cfg, self.process_mean, area) for c, m in heads]
            parts["contrastive"] = torch.stack(terms).sum()
            total = total + cfg.contrastive_weight * parts["contrastive"]
        return total, {k: float(v.detach()) for k, v in parts.items()}

    def _mask_losses(
        self,
        heads: Sequence[tuple[Tensor, Tensor]],
        class_logits: Tensor,
        targets: Sequence[Target],
        seeds: Sequence[int] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match, then mask losses: class targets [L, B, Q], bce and dice summed over heads and per segment."""
        queries, no_object = class_logits.shape[2], class_logits.shape[3] - 1
        assigned = torch.full(class_logits.shape[:3], no_object, dtype=torch.int64, device=class_logits.device)
        bce = dice = class_logits.new_zeros(())
        if not any(len(t.classes) for t in targets):
            # Processes must agree on what has a gradient, and another one's images may have segments.
            bce = dice = torch.stack([masks.sum() for _, masks in heads]).sum() * 0.0
        for b, target in enumerate(targets):
            if target.partial:
                assigned[:, b] = UNKNOWN_CLASS
            if len(target.classes) == 0:
                continue
            if seeds is not None:
                torch.manual_seed(seeds[b])
            masks = torch.stack([m[b] for _, m in heads])  # [L, Q, h, w]
            planes = segment_planes(target.segments, len(target.classes), masks.dtype, target.void_is_background)
            with torch.no_grad():
                points = self.draw(self.config.num_points, masks).unsqueeze(0)
                sampled = sample_logits(masks.detach().flatten(0, 1).unsqueeze(0), points)
                truth, weight = sample_planes(planes, points.expand(len(planes), -1, -1))
                query = match(
                    class_logits[:, b],
                    sampled.view(len(heads), queries, -1),
                    target.classes,
                    truth.T,
                    weight[0],
                    self.costs,
                )
            assigned[:, b].scatter_(1, query, target.classes.expand_as(query))
            rows = torch.arange(len(heads), device=query.device).unsqueeze(1)
            image_bce, image_dice = self._matched_losses(masks[rows, query], target, planes)
            bce, dice = bce + image_bce, dice + image_dice
        num_masks = self.process_mean(class_logits.new_tensor(float(sum(len(t.classes) for t in targets)))).clamp(
            min=TINY
        )
        return assigned, bce / num_masks, dice / num_masks

    def _matched_losses(self, masks: Tensor, target: Target, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of bce and dice of one image's matched masks [L, N, h, w]."""
        cfg = self.config
        heads, count = masks.shape[:2]
        flat = masks.flatten(0, 1)
        with torch.no_grad():
            # All masks of an image share the candidates, each chooses its own: as random, and a third of the time.
            candidates = self.draw(int(cfg.num_points * cfg.oversample), masks)
            uncertainty = -sample_logits(flat.detach().unsqueeze(0), candidates.unsqueeze(0))[0].abs()
            if not target.void_is_background:
                uncertainty[:, is_void(target.segments, candidates)] = -torch.inf
            chosen = int(cfg.num_points * cfg.importance)
            top = candidates[uncertainty.topk(chosen, dim=1, sorted=False).indices]
            others = self.draw(cfg.num_points - chosen, masks).expand(heads * count, -1, -1)
            points = torch.cat([top, others], 1)
            # One grid per segment, holding the points of all heads, spares a copy of the planes per head.
            grids = points.view(heads, count, -1, 2).transpose(0, 1).flatten(1, 2)
            truth, weight = (
                v.view(count, heads, -1).transpose(0, 1).flatten(0, 1) for v in sample_planes(planes, grids)
            )
        sampled = sample_logits(flat.unsqueeze(1), points).squeeze(1)
        per_point = F.binary_cross_entropy_with_logits(sampled, truth, reduction="none")
        bce = (per_point * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        probs = sampled.sigmoid() * weight
        overlap, sizes = (probs * truth).sum(1), probs.sum(1) + (truth * weight).sum(1)
        return bce.sum(), (1 - (2 * overlap + 1) / (sizes + 1)).sum()

    @staticmethod
    def _map(class_logits: Tensor, mask_logits: Tensor, label: Tensor) -> Tensor:
        """Class probabilities [B, K, ceil(H/2), ceil(W/2)] at every other pixel of a label [H, W]."""
        scores = class_scores(class_logits, mask_logits)
        full = F.interpolate(scores, size=tuple(label.shape), mode="bilinear", align_corners=False)
        return class_probabilities(full[..., ::2, ::2])

    def _pixel_loss(self, logits: Tensor, targets: Sequence[Target]) -> Tensor:
        label = torch.stack([t.label for t in targets])
        stride = label.shape[-1] // logits.shape[-1]
        label = label[:, stride // 2 :: stride, stride // 2 :: stride]
        valid = self.process_mean((label != IGNORE).sum().to(logits.dtype)).clamp(min=TINY)
        return F.cross_entropy(logits, label, ignore_index=IGNORE, reduction="sum") / valid


def _area(target: Target) -> Tensor:
    assert target.outlier_area is not None
    return target.outlier_area
