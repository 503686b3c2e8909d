"""How a run is kept in a checkpoint, and taken up from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2a_core.errors import CheckpointError
from m2a_core.training.state import load_checkpoint, load_optimizer, require_classes, require_stages

if TYPE_CHECKING:
    from m2a_core.training.trainer import Trainer


@dataclass
class Progress:
    """Where a run is: stage index and steps done in it."""

    stage: int = 0
    step: int = 0


def state_of(trainer: Trainer) -> dict[str, Any]:
    """What a checkpoint holds: tensors and plain types."""
    progress, optimizer, scaler = trainer.progress, trainer.optimizer, trainer.accelerator.scaler
    begun = trainer.config.stages[: progress.stage + (progress.step > 0)]
    return {
        "stage": progress.stage,
        "step": progress.step,
        "classes": list(trainer.labels.names),
        "stages": [stage.name for stage in begun],
        "model": trainer.model.state_dict(),
        **trainer.averages.state(),
        "pixel_head": trainer.pixel_head.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
    }


def take_up(trainer: Trainer) -> None:
    """Bring a new trainer to where its checkpoint is; see ``Trainer.resume``.

    Raises:
        CheckpointError: the checkpoint is missing or corrupt, or does not fit the run.
    """
    path, stages = trainer.checkpoint, trainer.config.stages
    state = load_checkpoint(path)
    require_classes(state, trainer.labels.names, path)
    require_stages(state, [stage.name for stage in stages], path)
    try:
        progress = trainer.progress = Progress(state["stage"], state["step"])
        trainer.model.load_state_dict(state["model"])
        trainer.averages.load(state)
        trainer.averages.require_kept([stage.name for stage in stages[: progress.stage]], path)
        trainer.pixel_head.load_state_dict(state["pixel_head"])
        if progress.stage < len(stages) and state["optimizer"] is not None:
            stage = stages[progress.stage]
            if progress.step > 0:
                trainer.averages.require_start(stage, path)
            trainer.start_stage(stage)
            load_optimizer(trainer.optimizer, state["optimizer"])
        if trainer.accelerator.scaler is not None and state.get("scaler") is not None:
            trainer.accelerator.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"checkpoint {path}: does not fit the network or the stage: {error}") from error
