"""The end of a run whose loss or gradient is not finite: what is kept to look at, and what the error says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from m2a_core.training.errors import TrainingError
from m2a_core.training.targets import Target

if TYPE_CHECKING:
    from m2a_core.training.trainer import Trainer


def give_up(
    trainer: Trainer, what: str, images: Tensor, targets: Sequence[Target], parts: dict[str, float]
) -> NoReturn:
    """Save the batch, and the state before it if that is finite.

    Args:
        trainer: the run.
        what: ``loss`` or ``gradient``.
        images: float [B, 3, H, W], the step's.
        targets: B targets.
        parts: the parts of the loss.

    Raises:
        TrainingError: always.
    """
    progress, accelerator = trainer.progress, trainer.accelerator
    part = "" if accelerator.world == 1 else f"_rank{accelerator.rank}"
    where = save_bad_batch(trainer.out / f"bad_batch_{progress.stage}_{progress.step}{part}.pt", images, targets)
    before = trainer.out / "before_bad_batch.pt"
    good = all(bool(torch.isfinite(p).all()) for p in trainer.model.parameters())
    if good and accelerator.is_main:
        trainer.write(before)
    kept = [str(p) for p in (before if good else None, trainer.checkpoint) if p is not None and p.is_file()]
    raise TrainingError(
        f"stage {progress.stage}, step {progress.step}: the {what} is not finite ({parts}); {where}, the state before "
        f"it in {', '.join(kept) or 'no file: the weights are not finite either'} (as {trainer.checkpoint.name}, "
        "--resume takes it); lower the learning rate or look at the batch"
    )


def save_bad_batch(path: Path, images: Tensor, targets: Sequence[Target]) -> str:
    """Save the batch that broke a run, if there is space for it.

    Args:
        path: the file.
        images: float [B, 3, H, W].
        targets: B targets, of which label and outlier maps are kept.

    Returns:
        In words where the batch is.
    """
    labels, outlier = (torch.stack([getattr(t, name) for t in targets]) for name in ("label", "outlier"))
    try:
        torch.save({"images": images, "labels": labels, "outlier": outlier}, path)
    except (OSError, RuntimeError) as error:
        return f"the batch could not be saved ({error})"
    return f"the batch is in {path}"
