"""What a step of a run works with: the learning rate, parameter groups, checkpoints written in one piece."""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2a_core.errors import CheckpointError
from m2a_core.files import replaced
from m2a_core.training.config import STEPS_AT, StageConfig

CHECKPOINT_FORMAT = 1
_INSTEAD = "restore an intact copy, or start again in another folder"


def learning_rate(stage: StageConfig, step: int) -> float:
    """Factor on the peak rate at a step: linear warm-up, then the stage's schedule."""
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    if stage.schedule == "constant":
        return 1.0
    if stage.schedule == "steps":
        return float(0.1 ** sum(step >= at * stage.iterations for at in STEPS_AT))
    if stage.schedule == "poly":
        return float((1 - step / stage.iterations) ** 0.9)
    share = (step - stage.warmup) / max(1, stage.iterations - stage.warmup)
    return stage.min_lr + (1 - stage.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def parameter_groups(model: nn.Module, head: nn.Module, stage: StageConfig) -> list[dict[str, Any]]:
    """AdamW groups: no decay for norms and biases; a factor on the rate for the backbone."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for root, prefix in ((model, ""), (head, "head.")):
        for name, module in root.named_modules():
            for key, parameter in module.named_parameters(recurse=False):
                if not parameter.requires_grad:
                    continue
                plain = parameter.ndim < 2
                groups.setdefault((f"{prefix}{name}.{key}".startswith("backbone."), plain), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if plain else stage.weight_decay,
            "peak": stage.lr * (stage.backbone_lr if backbone else 1.0),
        }
        for (backbone, plain), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def require_classes(state: Mapping[str, Any], names: Sequence[str], path: Path) -> None:
    """Raise `CheckpointError` where a checkpoint was trained on other classes, or on the same in another order.

    Its weights would fit nevertheless, and mean other classes. Older checkpoints do not say theirs.
    """
    trained = state.get("classes", [*names])
    if trained != [*names]:
        pairs = enumerate(zip(trained, names, strict=False))
        change = next(
            (f"class {i} was '{old}' and is '{new}'" for i, (old, new) in pairs if old != new),
            f"there were {len(trained)} classes and there are {len(names)}",
        )
        raise CheckpointError(
            f"checkpoint {path}: was trained on other classes: {change}; give the classes back their names and order, "
            "or start again in another folder"
        )


def require_stages(state: Mapping[str, Any], names: Sequence[str], path: Path) -> None:
    """Raise `CheckpointError` where the stages that a checkpoint has begun are not the configuration's first ones.

    Its place is the position of a stage: with one more or one less before it, a run would go on in another stage. That
    also happens where own data got or lost their outliers. Older checkpoints do not say their stages.
    """
    begun = list(state.get("stages", ()))
    now = [*names][: len(begun)]
    if begun != now:
        place = next((i for i, (old, new) in enumerate(zip(begun, now, strict=False)) if old != new), len(now))
        instead = f"is '{now[place]}'" if place < len(now) else "is not there"
        raise CheckpointError(
            f"checkpoint {path}: stage {place} was '{begun[place]}' and {instead} now; give the stages back their "
            "names and order, and own data their outliers, or start again in another folder"
        )


def load_optimizer(optimizer: Any, state: dict[str, Any]) -> None:
    """Fill an optimizer; rates and weight decay stay those of the configuration."""
    configured = [{key: group[key] for key in ("peak", "weight_decay")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, configured, strict=True):
        group.update(settings)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill or a full disk leaves the old one whole.

    Raises:
        CheckpointError: it could not be written; the old file is untouched.
    """
    try:
        # A run's folder that was taken away is not made anew.
        path.parent.stat()
        with replaced(path) as partial, partial.open("wb") as file:
            torch.save(state | {"format": CHECKPOINT_FORMAT}, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path}: cannot be written ({error}); the previous one is kept") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain types are accepted.

    Raises:
        CheckpointError: missing, corrupt or of another format.
    """
    try:
        # Torch takes damaged tensors as they are, and its unpickler's errors on garbage have no end.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"checkpoint {path}: damaged ({damaged}); {_INSTEAD}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read ({error}); {_INSTEAD}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != CHECKPOINT_FORMAT:
        raise CheckpointError(f"checkpoint {path}: expected format {CHECKPOINT_FORMAT} of m2a train, got {found}")
    return state
