"""The losses of the authors' released criterion for given outputs, targets and points: for comparing implementations.

`official_losses` follows the released ``SetCriterion`` (a fork of Mask2Former's) literally where `Criterion`, which
trains, differs:

* void pixels are outside of every mask, not left out;
* every matched mask draws candidates of its own for the importance sampling, not one set per image;
* the cross-entropy is a mean over this process' queries, the mask losses are divided by its number of masks.

With the same points for all masks and without void pixels both give the same numbers. Everything works in the dtype of
the outputs: float64 in, float64 out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from m2a_core.training.config import LossConfig
from m2a_core.training.contrastive import interpolated_top, outlier_loss
from m2a_core.training.matcher import mask_costs
from m2a_core.training.points import sample_logits

WEIGHTS = {"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 5.0, "loss_contrastive": 1.0}
"""Weight of each loss in the released total, the same for every head; the first three also weigh the matching."""


@dataclass(frozen=True)
class OfficialTarget:
    """Ground truth of one image; all images of a batch have the same size.

    Attributes:
        labels: int64 [N], class id per mask.
        masks: bool or float [N, H, W].
        outlier: bool [H, W], M_OOD of Eq. 13; all other pixels count as known, unlabelled ones too.
    """

    labels: Tensor
    masks: Tensor
    outlier: Tensor


@dataclass(frozen=True)
class GivenPoints:
    """The points that the released code would draw: x, y in [0, 1] of the image.

    Attributes:
        matching: float [1 or B, P, 2], points of the matching, shared by the queries and masks of an image.
        masks: float [1 or M, P, 2], points of the mask losses for each of the M matched masks of the batch, image by
            image and within an image by ascending query; or, where ``important`` is given, the candidates.
        random: float [1 or M, R, 2], points that are taken besides the important ones, or None.
        important: so many of the candidates are taken, those where the mask's logit is nearest to 0 (PointRend); None:
            all of ``masks`` are.
    """

    matching: Tensor
    masks: Tensor
    random: Tensor | None = None
    important: int | None = None


def official_losses(
    heads: Sequence[tuple[Tensor, Tensor]],
    targets: Sequence[OfficialTarget],
    points: GivenPoints | Sequence[GivenPoints],
    *,
    no_object: float = 0.1,
    margin: float = 1.0,
    contrastive: str = "printed",
) -> dict[str, Tensor]:
    """Compute the losses of every head.

    Args:
        heads: class logits [B, Q, K+1] (last class = no object) and mask logits [B, Q, h, w] per supervised head in the
            order of the network, the final one last: ``[*output.aux, (output.class_logits, output.mask_logits)]``.
        targets: B targets.
        points: those of all heads, or one per head.
        no_object: class weight of "no object" (released: 0.1).
        margin: m of Eq. 13 (released default: 1.0; paper: 0.75).
        contrastive: ``printed`` (the released "margin", Eq. 13 as it stands), ``text`` (f = 1 + l_N in place of l_N),
            ``bce`` (the released "bce", which takes l_N for a logit, where Eq. 28 and `outlier_loss` take f for a
            probability) or ``none``.

    Returns:
        Unweighted scalars with gradients under the released names: ``loss_ce``, ``loss_mask``, ``loss_dice`` and
        ``loss_contrastive`` of the final head, and the same with ``_0``, ``_1``, ... of the others in order. The
        released total is the sum of ``WEIGHTS`` times these over all heads.
    """
    per_head = [points] * len(heads) if isinstance(points, GivenPoints) else list(points)
    config = LossConfig(contrastive=contrastive, margin=margin, contrastive_stride=1)
    outlier = torch.stack([t.outlier for t in targets])
    losses: dict[str, Tensor] = {}
    for i, ((class_logits, mask_logits), given) in enumerate(zip(heads, per_head, strict=True)):
        suffix = "" if i == len(heads) - 1 else f"_{i}"
        pairs = official_matching(class_logits, mask_logits, targets, given.matching)
        losses[f"loss_ce{suffix}"] = _class_loss(class_logits, targets, pairs, no_object)
        mask, dice = _mask_losses(mask_logits, targets, pairs, given)
        losses |= {f"loss_mask{suffix}": mask, f"loss_dice{suffix}": dice}
        if contrastive != "none":
            loss = released_bce if contrastive == "bce" else partial(outlier_loss, known=~outlier, cfg=config)
            losses[f"loss_contrastive{suffix}"] = loss(class_logits, mask_logits, outlier)
    return losses


def released_bce(class_logits: Tensor, mask_logits: Tensor, outlier: Tensor) -> Tensor:
    """The released code's cross-entropy: l_N = -max S as the logit of being an outlier.

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].
        outlier: bool [B, H, W].

    Returns:
        Half the sum of the means over known and outlier pixels; scalar.
    """
    logits = -interpolated_top(class_logits, mask_logits, outlier)
    per_pixel = F.binary_cross_entropy_with_logits(logits, outlier.to(logits.dtype), reduction="none")
    return 0.5 * sum((per_pixel[where].mean() for where in (outlier, ~outlier) if where.any()), logits.new_zeros(()))


@torch.no_grad()
def official_matching(
    class_logits: Tensor, mask_logits: Tensor, targets: Sequence[OfficialTarget], points: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Hungarian matching of one head.

    Args:
        class_logits: float [B, Q, K+1].
        mask_logits: float [B, Q, h, w].
        targets: B targets.
        points: float [1 or B, P, 2].

    Returns:
        Per image the matched queries, ascending, and their masks, int64 [N] each.
    """
    pairs = []
    for b, target in enumerate(targets):
        where = points[b if len(points) > 1 else 0][None].to(mask_logits)
        truth = sample_logits(target.masks[None].to(mask_logits), where)[0].T
        logits = sample_logits(mask_logits[b][None], where)[0]
        bce, dice = mask_costs(logits, truth, truth.new_ones(len(truth)))
        chosen = class_logits[b].softmax(-1)[:, target.labels]
        cost = WEIGHTS["loss_mask"] * bce + WEIGHTS["loss_dice"] * dice - WEIGHTS["loss_ce"] * chosen
        queries, masks = linear_sum_assignment(cost.cpu().numpy())
        device = target.labels.device
        pairs.append((torch.as_tensor(queries, device=device), torch.as_tensor(masks, device=device)))
    return pairs


def _class_loss(
    class_logits: Tensor, targets: Sequence[OfficialTarget], pairs: list[tuple[Tensor, Tensor]], no_object: float
) -> Tensor:
    background = class_logits.shape[2] - 1
    wanted = torch.full(class_logits.shape[:2], background, dtype=torch.int64, device=class_logits.device)
    for b, (queries, masks) in enumerate(pairs):
        wanted[b, queries] = targets[b].labels[masks]
    weight = class_logits.new_ones(background + 1)
    weight[-1] = no_object
    return F.cross_entropy(class_logits.transpose(1, 2), wanted, weight)


def _mask_losses(
    mask_logits: Tensor, targets: Sequence[OfficialTarget], pairs: list[tuple[Tensor, Tensor]], given: GivenPoints
) -> tuple[Tensor, Tensor]:
    guess = torch.cat([mask_logits[b, queries] for b, (queries, _) in enumerate(pairs)])[:, None]
    truth = torch.cat([targets[b].masks[masks] for b, (_, masks) in enumerate(pairs)])[:, None].to(guess)
    count = max(1, len(guess))
    with torch.no_grad():
        points = given.masks.to(guess).expand(len(guess), -1, -1)
        if given.important is not None:
            certainty = sample_logits(guess, points)[:, 0].abs()
            nearest = certainty.topk(given.important, dim=1, largest=False).indices
            points = points.gather(1, nearest[..., None].expand(-1, -1, 2))
        if given.random is not None:
            points = torch.cat([points, given.random.to(guess).expand(len(guess), -1, -1)], 1)
        labels = sample_logits(truth, points)[:, 0]
    logits = sample_logits(guess, points)[:, 0]
    bce = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1).sum() / count
    probs = logits.sigmoid()
    dice = 1 - (2 * (probs * labels).sum(1) + 1) / (probs.sum(1) + labels.sum(1) + 1)
    return bce, dice.sum() / count
