"""Averaged weights: over the steps of a run, with the start of a stage, with the result of an earlier stage."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m2a_core.errors import CheckpointError
from m2a_core.training.config import StageConfig, TrainConfig


def average_of(model: nn.Module) -> nn.Module:
    """A copy of a network to keep averaged weights in."""
    average = copy.deepcopy(model).eval()
    return average.requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move averaged weights towards the network; the decay grows over the first steps to forget the start."""
    decay = min(decay, (1 + step) / (10 + step))
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    trained = [(kept, new) for kept, new in pairs if new.requires_grad]
    torch._foreach_lerp_([kept for kept, _ in trained], [new for _, new in trained], 1 - decay)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)


class Averages:
    """What becomes of a run's weights.

    Attributes:
        network: a copy of the network with the weights averaged over the steps.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        """Start at the network's weights; the configuration says which averages are wanted."""
        self.network = average_of(model)
        self._wanted = config.average
        self._stage_start: dict[str, Tensor] | None = None
        self._kept: dict[str, Tensor] | None = None
        self._kept_stage: str | None = None

    def begin(self, stage: StageConfig) -> None:
        """Keep the weights that a stage starts from, if it is to be averaged with them."""
        self._stage_start = None if stage.average is None else self._weights()

    @torch.no_grad()
    def end(self, stage: StageConfig) -> None:
        """Move the result of a stage towards its start, as the stage says; keep it if the run's end asks for it."""
        if stage.average is not None:
            assert self._stage_start is not None
            _move(self.network.state_dict(), self._stage_start, stage.average.share)
            self._stage_start = None
        if self._wanted is not None and self._wanted.with_ == stage.name:
            self._kept, self._kept_stage = self._weights(), stage.name

    def result(self, done: bool) -> dict[str, Tensor]:
        """The averaged weights; at the end of the run, averaged with those of an earlier stage if the run says so."""
        result = self._weights()
        if self._wanted is not None and done:
            assert self._kept is not None
            _move(result, self._kept, self._wanted.share)
        return result

    def state(self) -> dict[str, Any]:
        """What ``load`` takes."""
        return {
            "average": self.network.state_dict(),
            "stage_start": self._stage_start,
            "kept": self._kept,
            "kept_stage": self._kept_stage,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave; other keys are left alone."""
        self.network.load_state_dict(state["average"])
        self._stage_start, self._kept = state.get("stage_start"), state.get("kept")
        # Older checkpoints do not say whose weights they kept.
        wanted = None if self._wanted is None else self._wanted.with_
        self._kept_stage = state.get("kept_stage", None if self._kept is None else wanted)

    def require_start(self, stage: StageConfig, checkpoint: Path) -> None:
        """Raise `CheckpointError` where a stage, resumed in its middle, is to be averaged with a start not kept."""
        if stage.average is not None and self._stage_start is None:
            raise CheckpointError(
                f"checkpoint {checkpoint}: lacks the weights that stage '{stage.name}' began with, which 'average' "
                "asks for: take 'average' out of the stage, or train again in another folder"
            )

    def require_kept(self, finished: Collection[str], checkpoint: Path) -> None:
        """Raise `CheckpointError` where the run's end is to be averaged with a finished stage that was not kept."""
        if self._wanted is None or self._wanted.with_ not in finished or self._wanted.with_ == self._kept_stage:
            return
        other = "" if self._kept_stage is None else f"; it keeps that of '{self._kept_stage}'"
        raise CheckpointError(
            f"checkpoint {checkpoint}: lacks the result of stage '{self._wanted.with_}', which the run's 'average' "
            f"asks for{other}: take 'average' out or name another stage in it, or train again in another folder"
        )

    def _weights(self) -> dict[str, Tensor]:
        return {name: x.detach().clone() for name, x in self.network.state_dict().items()}


def _move(weights: dict[str, Tensor], towards: dict[str, Tensor], share: float) -> None:
    """Move weights, in place, by a share of the way."""
    for name, x in weights.items():
        if x.is_floating_point():
            x.lerp_(towards[name].to(x.device), share)
