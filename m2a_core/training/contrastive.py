"""Outlier losses: mask contrastive learning (Eqs. 12-14) and its cross-entropy rival (Eqs. 28-29)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from m2a_core.training.config import LossConfig

TINY = 1e-6
"""Below every count but zero, where the sum over it is zero, too."""


def class_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """S = softmax(C)^T sigmoid(M) without "no object" (Eq. 3).

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].

    Returns:
        float [B, K, h, w].
    """
    return torch.einsum("bqk,bqhw->bkhw", class_logits.softmax(-1)[..., :-1], mask_logits.sigmoid())


def identity(value: Tensor) -> Tensor:
    """The value: what a count is, shared with no other process."""
    return value


def outlier_loss(
    class_logits: Tensor,
    mask_logits: Tensor,
    outlier: Tensor,
    known: Tensor,
    cfg: LossConfig,
    process_mean: Callable[[Tensor], Tensor] = identity,
    area: Tensor | None = None,
) -> Tensor:
    """Outlier loss of one head.

    ``printed`` is Eq. 13 as it stands: l_N = -max S, known l_N^2, outlier max(0, m - l_N)^2; both terms push max S to
    0. ``text`` puts the anomaly score f = 1 + l_N in the place of l_N, which is what the text describes: known f^2,
    outlier max(0, m - f)^2. ``bce`` is Eq. 28 on the probability f clipped to (0, 1), since log(l_N) of a negative
    number has no value; ``strict`` is the same with B = 1 - max over queries and classes (Eq. 17) in place of f
    at known pixels. max S is taken at the masks' size and then interpolated, as in the released code. Means over known
    and outlier pixels are taken apart, added and halved; without outliers only the known term is left.

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].
        outlier: bool [B, H, W], M_OOD.
        known: bool [B, H, W], pixels of known classes.
        cfg: variant, margin and resolution.
        process_mean: mean of counts over the processes of a run.
        area: float [B, H, W], area of the object that an outlier pixel is of, in pixels; needed with ``balance``.

    Returns:
        Scalar.
    """
    stride = cfg.contrastive_stride
    outlier, known = outlier[:, ::stride, ::stride], known[:, ::stride, ::stride]
    top = interpolated_top(class_logits, mask_logits, outlier)
    if cfg.contrastive in ("bce", "strict"):
        anomaly = (1.0 - top).clamp(1e-6, 1.0 - 1e-6)
        per_outlier = -torch.log(anomaly)
        if cfg.contrastive == "strict":
            anomaly = (1.0 - interpolated_single(class_logits, mask_logits, outlier)).clamp(1e-6, 1.0 - 1e-6)
        per_known = -torch.log1p(-anomaly)
    else:
        value = -top if cfg.contrastive == "printed" else 1.0 - top
        per_known, per_outlier = value.square(), (cfg.margin - value).clamp(min=0).square()
    weights = outlier.to(top.dtype)
    if cfg.balance > 0:
        assert area is not None
        weights = weights * area[:, ::stride, ::stride].clamp(min=1.0).to(top.dtype).pow(-cfg.balance)
    sums, counts = zip(*((_sum(per_known, known.to(top.dtype)), _sum(per_outlier, weights))), strict=True)
    return 0.5 * (torch.stack(sums) / process_mean(torch.stack(counts)).clamp(min=TINY)).sum()


def interpolated_top(class_logits: Tensor, mask_logits: Tensor, like: Tensor) -> Tensor:
    """max_Z S at the size of ``like`` [B, H, W], interpolated with aligned corners: float [B, H, W]."""
    top = class_scores(class_logits, mask_logits).amax(1, keepdim=True)
    return F.interpolate(top, size=tuple(like.shape[-2:]), mode="bilinear", align_corners=True).squeeze(1)


def interpolated_single(class_logits: Tensor, mask_logits: Tensor, like: Tensor) -> Tensor:
    """The largest claim of one query for one class (Eq. 17), as `interpolated_top`: float [B, H, W]."""
    surest = class_logits.softmax(-1)[..., :-1].amax(-1)
    single = (surest[..., None, None] * mask_logits.sigmoid()).amax(1, keepdim=True)
    return F.interpolate(single, size=tuple(like.shape[-2:]), mode="bilinear", align_corners=True).squeeze(1)


def excess_loss(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """Mean over all pixels of what S (Eq. 3) adds up to beyond 1. Ours, not in the paper.

    Nothing in Eqs. 1-2 keeps many queries from claiming one pixel a little each, and Eq. 7 then takes it for known.

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].

    Returns:
        Scalar.
    """
    claims = 1.0 - class_logits.softmax(-1)[..., -1]
    total = torch.einsum("bq,bqhw->bhw", claims, mask_logits.sigmoid())
    return (total - 1.0).clamp(min=0.0).mean()


def _sum(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of weighted values, and of the weights."""
    return (values * weights).sum(), weights.sum()
