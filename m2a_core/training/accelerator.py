"""Processes, devices and precision of a run, by Hugging Face Accelerate: one CPU, one GPU, or many under torchrun.

Losses are sums over the whole batch divided by counts over the whole batch, not means of the processes' means: so many
processes give what one gives for the same batch (https://huggingface.co/docs/accelerate).
"""

from __future__ import annotations

from typing import Any

import accelerate
import torch
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from m2a_core.errors import ConfigError


class Accelerator:
    """This process among those of the run."""

    def __init__(self, precision: str = "no", cpu: bool = False) -> None:
        """Join the other processes, if torchrun started this one.

        Args:
            precision: ``no``, ``bf16`` or ``fp16``.
            cpu: leave GPUs alone.

        Raises:
            ConfigError: the device cannot compute in this precision.
        """
        # Buffers are those of frozen batch norms: the same in all processes, always.
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
        try:
            self._accelerate = accelerate.Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[ddp])
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"precision '{precision}': {error}") from error
        if precision == "fp16" and self._accelerate.device.type != "cuda":
            raise ConfigError("precision 'fp16': needs an NVIDIA GPU; use 'bf16' or 'no'")
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        device: torch.device = self._accelerate.device
        return device

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        rank: int = self._accelerate.process_index
        return rank

    @property
    def world(self) -> int:
        """Number of processes."""
        world: int = self._accelerate.num_processes
        return world

    @property
    def is_main(self) -> bool:
        """This process writes files and talks."""
        return self.rank == 0

    def prepare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Make a network and its optimiser fit for the processes and the precision; those before are forgotten."""
        self._accelerate.free_memory()
        prepared, wrapped = self._accelerate.prepare(network, optimizer)
        return prepared, wrapped

    def mean(self, value: Tensor) -> Tensor:
        """Mean over processes; the value itself in a single one."""
        return value if self.world == 1 else self._accelerate.reduce(value.detach(), "mean")

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in some process."""
        if self.world == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._accelerate.wait_for_everyone()

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss, scaled for fp16."""
        self._accelerate.backward(loss)

    def clip(self, parameters: list[nn.Parameter], largest: float) -> Tensor:
        """Undo the scaling, clip, and return the norm before clipping."""
        norm: Tensor | None = self._accelerate.clip_grad_norm_(parameters, largest)
        assert norm is not None
        return norm

    @property
    def scaler(self) -> Any:
        """The loss scaling of fp16, or None."""
        return self._accelerate.scaler if self.precision == "fp16" else None

    @property
    def overflows(self) -> bool:
        """Whether gradients that are not finite are of fp16's making: the step is skipped and the scale lowered."""
        return self.scaler is not None and float(self.scaler.get_scale()) > 1
