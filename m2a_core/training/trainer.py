"""The training loop: stages, checkpoints, validation, logs."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from m2a_core.errors import CheckpointError, M2aError
from m2a_core.labels import LabelSet
from m2a_core.model.backbones.fold import fold_batch_norm
from m2a_core.model.mask2anomaly import Mask2Anomaly
from m2a_core.training.batches import Batches
from m2a_core.training.config import StageConfig, TrainConfig
from m2a_core.training.losses import Criterion
from m2a_core.training.state import (
    average_of,
    learning_rate,
    load_checkpoint,
    parameter_groups,
    save_checkpoint,
    update_average,
)
from m2a_core.training.targets import Target


class TrainingError(M2aError):
    """Training cannot go on."""


@dataclass
class Progress:
    """Where a run is: stage index and steps done in it."""

    stage: int = 0
    step: int = 0


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
        validate: Callable[[nn.Module], dict[str, float]],
    ) -> None:
        """Prepare a run.

        Args:
            config: the run.
            model: network with random or pretrained weights.
            labels: its classes.
            batches: source of batches.
            out: folder for ``checkpoint.pt``, ``metrics.jsonl`` and TensorBoard files.
            validate: measures a network.
        """
        self.config, self.model, self.batches, self.out, self.validate = config, model, batches, out, validate
        self.labels = labels
        self.pixel_head = nn.Conv2d(model.config.mask_dim, labels.num_classes, 1)
        self.average = average_of(model)
        self.progress = Progress()
        self.optimizer: torch.optim.Optimizer | None = None
        self.folded: nn.Module | None = None
        self.stop = False
        self.checkpoint = out / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from ``checkpoint.pt``; rates and weight decay are those of the configuration, even a changed one.

        Raises:
            CheckpointError: missing, corrupt, or of another network.
        """
        state = load_checkpoint(self.checkpoint)
        try:
            self.progress = Progress(state["stage"], state["step"])
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.pixel_head.load_state_dict(state["pixel_head"])
            if self.progress.stage < len(self.config.stages) and state["optimizer"] is not None:
                self._start_stage(self.config.stages[self.progress.stage])
                self._load_optimizer(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"checkpoint {self.checkpoint}: does not fit the network or the stage: {error}"
            ) from error

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        assert self.optimizer is not None
        configured = [{key: group[key] for key in ("peak", "weight_decay")} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state)
        for group, settings in zip(self.optimizer.param_groups, configured, strict=True):
            group.update(settings)

    def save(self) -> None:
        """Write ``checkpoint.pt`` in one piece."""
        optimizer = None if self.optimizer is None else self.optimizer.state_dict()
        save_checkpoint(
            self.checkpoint,
            {
                "stage": self.progress.stage,
                "step": self.progress.step,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "pixel_head": self.pixel_head.state_dict(),
                "optimizer": optimizer,
            },
        )

    def run(self) -> bool:
        """Train until the end or until SIGINT or SIGTERM, which save a checkpoint first.

        Returns:
            Whether all stages are done.

        Raises:
            TrainingError: loss or gradient is not finite; the batch is saved beside the checkpoint.
            CheckpointError: a checkpoint cannot be written; the one before it is left whole.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        writer = SummaryWriter(str(self.out / "tensorboard"))
        try:
            while self.progress.stage < len(self.config.stages) and not self.stop:
                stage = self.config.stages[self.progress.stage]
                if self.progress.step == 0:
                    self._start_stage(stage)
                self._run_stage(stage, writer)
            self.save()
        finally:
            writer.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return self.progress.stage == len(self.config.stages)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True

    def _start_stage(self, stage: StageConfig) -> None:
        if self.progress.step == 0 and self.progress.stage > 0:
            self.model.load_state_dict(self.average.state_dict())
        self.model.backbone.requires_grad_(not stage.freeze_backbone)
        self.folded = fold_batch_norm(self.model.backbone) if stage.freeze_backbone else None
        groups = parameter_groups(self.model, self.pixel_head, stage)
        self.optimizer = torch.optim.AdamW(groups, lr=stage.lr, fused=True)

    def _run_stage(self, stage: StageConfig, writer: SummaryWriter) -> None:
        criterion = Criterion(self.labels.num_classes, stage.loss)
        offset = sum(s.iterations for s in self.config.stages[: self.progress.stage])
        self.model.train()
        # Frozen or not, batch statistics of a handful of crops are worse than those of ImageNet.
        self.model.backbone.eval()
        with tqdm(total=stage.iterations, initial=self.progress.step, desc=stage.name, dynamic_ncols=True) as bar:
            while self.progress.step < stage.iterations and not self.stop:
                began = time.perf_counter()
                parts = self._step(stage, criterion)
                self.progress.step += 1
                done = self.progress.step
                record = {"stage": stage.name, "step": done, "seconds": time.perf_counter() - began, **parts}
                self._log("train", record, writer, offset + done)
                bar.update()
                bar.set_postfix(loss=f"{parts['loss']:.2f}", refresh=False)
                if done % self.config.validation.every == 0 or done == stage.iterations:
                    measured = self.validate(self.average)
                    self._log("validation", {"stage": stage.name, "step": done, **measured}, writer, offset + done)
                    shown = " ".join(f"{k} {v:.3f}" for k, v in measured.items() if not k.startswith("iou_"))
                    tqdm.write(f"{stage.name} {done}: {shown}")
                if done % self.config.checkpoint_every == 0:
                    self.save()
        if self.progress.step >= stage.iterations:
            self.progress = Progress(self.progress.stage + 1, 0)
            self.optimizer = None
            self.save()

    def _step(self, stage: StageConfig, criterion: Criterion) -> dict[str, float]:
        assert self.optimizer is not None
        step = self.progress.step
        torch.manual_seed(((self.config.seed * 16 + self.progress.stage) << 32) + step)
        rate = learning_rate(stage, step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        images, targets = self.batches.get(stage, self.progress.stage, step)
        if self.folded is None:
            output = self.model(images)
        else:
            with torch.no_grad():
                features = self.folded(images.contiguous(memory_format=torch.channels_last))
            output = self.model.decode({name: x.contiguous() for name, x in features.items()})
        heads = [*output.aux, (output.class_logits, output.mask_logits)]
        pixel = self.pixel_head(output.mask_features) if stage.loss.pixel_aux > 0 else None
        loss, parts = criterion(heads, targets, pixel)
        if not math.isfinite(float(loss.detach())):
            self._give_up("loss", images, targets, parts)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, stage.clip_grad if stage.clip_grad > 0 else math.inf)
        if not math.isfinite(float(norm)):
            self._give_up("gradient", images, targets, parts)
        self.optimizer.step()
        update_average(self.average, self.model, stage.ema, step if self.progress.stage == 0 else step + 1000)
        return {"loss": float(loss.detach()), **parts, "grad_norm": float(norm), "lr": stage.lr * rate}

    def _give_up(self, what: str, images: Tensor, targets: list[Target], parts: dict[str, float]) -> NoReturn:
        path = self.out / f"bad_batch_{self.progress.stage}_{self.progress.step}.pt"
        labels, outlier = (torch.stack([getattr(t, name) for t in targets]) for name in ("label", "outlier"))
        torch.save({"images": images, "labels": labels, "outlier": outlier}, path)
        raise TrainingError(
            f"stage {self.progress.stage}, step {self.progress.step}: the {what} is not finite ({parts}); the batch is "
            f"in {path}, the last good weights in {self.checkpoint}; lower the learning rate or look at the batch"
        )

    def _log(self, kind: str, record: dict[str, Any], writer: SummaryWriter, step: int) -> None:
        with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **record}) + "\n")
        for key, value in record.items():
            if isinstance(value, float):
                writer.add_scalar(f"{kind}/{key}", value, step)
