"""The training loop: stages, checkpoints, validation, logs."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.label_set import LabelSet
from m2a_core.model.mask2anomaly import Mask2Anomaly
from m2a_core.progress import ProgressBar
from m2a_core.training.accelerator import Accelerator
from m2a_core.training.averages import Averages, update_average
from m2a_core.training.batches import Batches, in_order
from m2a_core.training.broken_step import give_up
from m2a_core.training.clock import Clock
from m2a_core.training.config import StageConfig, TrainConfig
from m2a_core.training.errors import TrainingError
from m2a_core.training.log import RunLog
from m2a_core.training.losses import Criterion
from m2a_core.training.network import TrainedNetwork
from m2a_core.training.resuming import Progress, state_of, take_up
from m2a_core.training.state import learning_rate, parameter_groups, save_checkpoint
from m2a_core.training.targets import Target

_POINTS, _DEPTH = range(2)
"""What a seed is for: the points of the losses, the branches that stochastic depth drops."""


class Trainer:
    """Trains a network through all stages of a configuration.

    Everything random is seeded from (seed, stage, step), so that no generator state has to survive a kill: the same
    step does the same thing whether or not the run was interrupted before it.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Mask2Anomaly,
        labels: LabelSet,
        batches: Batches,
        out: Path,
        validate: Callable[[nn.Module], dict[str, float]] | None,
        accelerator: Accelerator | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Prepare a run.

        Args:
            config: the run.
            model: network with random or pretrained weights.
            labels: its classes.
            batches: source of batches.
            out: folder for ``checkpoint.pt``, ``metrics.jsonl`` and TensorBoard files.
            validate: measures a network; None = nothing to measure on.
            accelerator: processes and devices; None = this process, on the CPU.
            notes: what one should know of the run before it begins.

        Raises:
            ConfigError: a batch cannot be shared evenly among the processes.
        """
        self.accelerator = accelerator or Accelerator(config.precision, cpu=True)
        for stage in config.stages:
            if stage.batch_size % self.accelerator.world:
                raise ConfigError(
                    f"stage '{stage.name}': batch_size {stage.batch_size} cannot be shared by {self.accelerator.world} "
                    "processes; it is that of all together: choose a multiple"
                )
        self.config, self.model, self.batches, self.out, self.validate = config, model, batches, out, validate
        self.labels, self.notes = labels, tuple(notes)
        self.pixel_head = nn.Conv2d(model.config.mask_dim, labels.num_classes, 1)
        for module in (self.model, self.pixel_head):
            module.to(self.accelerator.device)
        self.averages = Averages(model, config)
        self.progress = Progress()
        self.optimizer: Any = None
        self.network: nn.Module | None = None
        self.stop = False
        self.clock = Clock(config)
        self.checkpoint = out / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from ``checkpoint.pt``; rates and weight decay are those of the configuration, even a changed one.

        Raises:
            CheckpointError: missing, corrupt, or of another network, other classes or other stages, or without the
                weights that an average asks for.
        """
        take_up(self)

    def result(self) -> dict[str, Tensor]:
        """The weights so far; see ``Averages.result``."""
        return self.averages.result(self.progress.stage == len(self.config.stages))

    def save(self) -> None:
        """Write ``checkpoint.pt`` in one piece; in all processes but the main one, wait for that."""
        if self.accelerator.is_main:
            self.write(self.checkpoint)
        self.accelerator.wait()

    def write(self, path: Path) -> None:
        """Write a checkpoint, whatever the other processes do."""
        save_checkpoint(path, state_of(self))

    def run(self) -> bool:
        """Train until the end or until SIGINT or SIGTERM, which save a checkpoint first.

        Returns:
            Whether all stages are done.

        Raises:
            TrainingError: loss or gradient is not finite, and the batch is saved beside the checkpoint; or a process
                that prepares batches was killed.
            CheckpointError: a checkpoint cannot be written; the one before it is left whole.
            DataError: a frame cannot be read, in this process or another; a checkpoint is written first.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        log = RunLog(self.out, self.accelerator.is_main)
        try:
            while self.progress.stage < len(self.config.stages) and not self._stopping():
                stage = self.config.stages[self.progress.stage]
                if self.progress.step == 0:
                    self.start_stage(stage)
                self._run_stage(stage, log)
            self.save()
        except DataError:
            # A frame on disk broke: nothing of its step has happened yet, and the steps before it must not be lost.
            if self.accelerator.is_main:
                self.write(self.checkpoint)
            raise
        except RuntimeError as error:
            # PyTorch raises it in a signal's handler, so the step may be half done and is not worth a checkpoint.
            if "DataLoader worker" not in str(error):
                raise
            kept = f"--resume goes on from {self.checkpoint}" if self.checkpoint.is_file() else "nothing was saved yet"
            raise TrainingError(
                f"stage {self.progress.stage}, step {self.progress.step}: a process that prepares batches ended "
                f"({str(error).splitlines()[0]}); {kept}. If memory ran out, set workers: 0"
            ) from error
        finally:
            log.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return self.progress.stage == len(self.config.stages)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True

    def _stopping(self) -> bool:
        self.stop = self.accelerator.any(self.stop)
        return self.stop

    def start_stage(self, stage: StageConfig) -> None:
        """Make the optimizer of a stage; at its first step, go on from the averaged weights of the stage before."""
        if self.progress.step == 0:
            if self.progress.stage > 0:
                self.model.load_state_dict(self.averages.network.state_dict())
            self.averages.begin(stage)
        self.model.backbone.requires_grad_(not stage.freeze_backbone)
        groups = parameter_groups(self.model, self.pixel_head, stage)
        optimizer = torch.optim.AdamW(groups, lr=stage.lr, fused=True)
        head = self.pixel_head if stage.loss.pixel_aux > 0 else None
        network = TrainedNetwork(self.model, head, stage.freeze_backbone)
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)

    def _run_stage(self, stage: StageConfig, log: RunLog) -> None:
        criterion = Criterion(self.labels.num_classes, stage.loss, process_mean=self.accelerator.mean)
        offset = sum(s.iterations for s in self.config.stages[: self.progress.stage])
        batches = in_order(
            self.batches,
            stage,
            self.progress.stage,
            self.progress.step,
            self.accelerator.rank,
            self.accelerator.world,
            self.config.workers,
        )
        with ProgressBar(
            total=stage.iterations,
            initial=self.progress.step,
            desc=stage.name,
            dynamic_ncols=True,
            disable=not self.accelerator.is_main,
        ) as bar:
            while self.progress.step < stage.iterations and not self._stopping():
                began = time.perf_counter()
                parts = self._step(stage, criterion, *self._next(batches))
                self.progress.step += 1
                done = self.progress.step
                log.add(
                    "train",
                    {"stage": stage.name, "step": done, "seconds": time.perf_counter() - began, **parts},
                    offset + done,
                )
                bar.update()
                estimate = self.clock.tick(self.progress.stage, done)
                if estimate and self.accelerator.is_main:
                    ProgressBar.write(estimate)
                bar.set_postfix(loss=f"{parts['loss']:.2f}", refresh=False)
                if done % self.config.validation.every == 0 or done == stage.iterations:
                    self._validate(stage, done, log, offset)
                if done % self.config.checkpoint_every == 0:
                    self.save()
        if self.progress.step >= stage.iterations:
            self.averages.end(stage)
            self.progress = Progress(self.progress.stage + 1, 0)
            self.optimizer = None
            self.save()

    def _next(self, batches: Iterator[tuple[Tensor, list[Target]]]) -> tuple[Tensor, list[Target]]:
        """The next batch; where one process cannot read its part, all stop before the step."""
        batch, broken = None, None
        try:
            batch = next(batches)
        except DataError as error:
            broken = error
        if self.accelerator.any(broken is not None):
            raise broken or DataError("another process could not read a frame; it says which")
        assert batch is not None
        return batch

    def _validate(self, stage: StageConfig, done: int, log: RunLog, offset: int) -> None:
        if self.accelerator.is_main and self.validate is not None:
            measured = self.validate(self.averages.network)
            log.add("validation", {"stage": stage.name, "step": done, **measured}, offset + done)
            shown = " ".join(f"{k} {v:.3f}" for k, v in measured.items() if not (k.startswith("iou_") or math.isnan(v)))
            ProgressBar.write(f"{stage.name} {done}: {shown}")
        self.accelerator.wait()

    def _step(
        self, stage: StageConfig, criterion: Criterion, images: Tensor, targets: list[Target]
    ) -> dict[str, float]:
        assert self.network is not None
        step, device = self.progress.step, self.accelerator.device
        rate = learning_rate(stage, step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        # Every image's points have a seed of their own, so that they do not depend on which process has the image.
        first = self.accelerator.rank * len(targets)
        seeds = [self.seed_of(_POINTS, step, first + i) for i in range(len(targets))]
        torch.manual_seed(self.seed_of(_DEPTH, step, self.accelerator.rank))
        heads, pixel = self.network(images.to(device))
        loss, parts = criterion(heads, [t.to(device) for t in targets], pixel, seeds)
        values = torch.tensor([float(loss.detach()), *parts.values()], dtype=torch.float64, device=device)
        total, *means = self.accelerator.mean(values).tolist()
        parts = dict(zip(parts, means, strict=True))
        if not math.isfinite(total):
            give_up(self, "loss", images, targets, parts)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        norm = self.accelerator.clip(parameters, stage.clip_grad if stage.clip_grad > 0 else math.inf)
        if not math.isfinite(float(norm)) and not self.accelerator.overflows:
            give_up(self, "gradient", images, targets, parts)
        self.optimizer.step()
        update_average(self.averages.network, self.model, stage.ema, step if self.progress.stage == 0 else step + 1000)
        return {"loss": total, **parts, "grad_norm": float(norm), "lr": stage.lr * rate}

    def seed_of(self, purpose: int, step: int, index: int) -> int:
        """32 bits, all that PyTorch's generator on the CPU looks at."""
        entropy = [self.config.seed, self.progress.stage, step, index, purpose]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])
