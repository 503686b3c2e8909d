"""A network with a class for outliers: where the ablations begin it, and how it ranks."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.preprocess import Letterbox
from m2a_core.progress import ProgressBar
from m2a_core.training.composed import ComposedImage
from m2a_core.training.validation import normalise


def take_class_head(network: torch.nn.Module, start: Path) -> None:
    """Give a network with one class more what the start knows of the others; its own class begins as "no object"."""
    kept = load_file(start)
    own = dict(network.named_parameters())
    for name, values in kept.items():
        if ".class_head." in name:
            with torch.no_grad():
                own[name].copy_(torch.cat([values[:-1], values[-1:], values[-1:]]))


@torch.no_grad()
def measure_outlier_class(
    model: torch.nn.Module, composed: list[ComposedImage], size: tuple[int, int]
) -> dict[str, float]:
    """``uno_auprc`` and ``uno_fpr95`` of a network whose last class is the outliers.

    UNO (Delić et al., 2024, arXiv:2402.15374): a mask's score is its probability of the outlier class (negative
    objectness) less its largest of a known class (uncertainty); a pixel's is the sum over the masks that cover it.
    """
    model.eval()
    ranking, letterbox = PixelMetrics(), Letterbox(size)
    for item in ProgressBar(composed, desc="measuring", leave=False):
        boxed, geometry = letterbox.apply(item.image)
        output = model(normalise([boxed]))
        probabilities = output.class_logits[0].softmax(-1)
        of_mask = probabilities[:, -2] - probabilities[:, :-2].amax(-1)
        masks = F.interpolate(output.mask_logits, size, mode="bilinear")[0].sigmoid()
        score = torch.einsum("q,qhw->hw", of_mask, masks)
        ranking.update(geometry.undo_continuous(score.numpy()), item.label)
    found = ranking.compute()
    return {"uno_auprc": found.auprc, "uno_fpr95": found.fpr95}
