"""Whole networks: a frame with the kernel and with the reference, and a training step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.gpu.record import Row
from benchmarks.gpu.timing import Device, duration
from m2a_core.model.mask2anomaly import build_model
from m2a_core.model.zoo import MODELS
from m2a_core.ops import cuda as cuda_ops
from m2a_core.ops import deform_attn
from m2a_core.ops.kernel_library import KernelLibrary
from m2a_core.training.accelerator import Accelerator
from m2a_core.training.batches import Batches
from m2a_core.training.losses import Criterion
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.trainer import Trainer
from test.training.synthetic import cutout, frames, train_config

Operator = Callable[[torch.Tensor, torch.Tensor, list[int], int], torch.Tensor]


def check_model(library: KernelLibrary, device: Device, name: str, size: tuple[int, int]) -> Row:
    """A whole network, kernel against reference on the same device, both eager: its outputs and the time of a frame."""
    torch.manual_seed(0)
    model = build_model(MODELS[name]).eval().to(device.name)
    image = torch.randn(1, 3, *size).to(device.name)

    def kernel(value: torch.Tensor, projection: torch.Tensor, flat: list[int], points: int) -> torch.Tensor:
        return library.forward(value, projection, flat, points, device.stream())

    operators: dict[str, Operator] = {"kernel": kernel, "reference": deform_attn._reference}
    row: Row = {"name": name, "size": size, "ok": True}
    for dtype in ("fp32",) if device.name == "cpu" else ("fp32", "fp16"):
        found = {}
        mixed = torch.autocast("cuda", torch.float16, enabled=dtype == "fp16")
        for what, operator in operators.items():
            with patch.object(deform_attn, "_operator", operator), torch.no_grad(), mixed:
                found[what] = model(image)
                row[f"{dtype} {what}"] = duration(device, [[image]], model)
        a, b = found["kernel"], found["reference"]
        for output in ("class_logits", "mask_logits"):
            mine, theirs = getattr(a, output).float(), getattr(b, output).float()
            row[f"{dtype} {output} error"] = float((mine - theirs).abs().max() / theirs.abs().max())
        agree = float((a.class_logits.argmax(-1) == b.class_logits.argmax(-1)).float().mean())
        row[f"{dtype} class agreement"] = agree
        # Weights are random: half precision may flip queries that are of two minds.
        row["ok"] &= agree >= (0.9 if dtype == "fp16" else 0.99)
    return row


def time_training(library: KernelLibrary, device: Device, precision: str, batch: int, crop: tuple[int, int]) -> Row:
    """Steps of the trainer on m2a-edge and one batch, with the kernel and with the reference; their first losses."""
    row: Row = {"model": "m2a-edge", "precision": precision, "batch": batch, "crop": crop}
    losses = {}
    for what, kernel in (("kernel", library), ("reference", None)):
        if device.name == "cpu" and kernel is not None:
            continue  # the operator takes CUDA's kernels for CUDA's tensors
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(cuda_ops, "library_for", lambda *_, kernel=kernel: kernel),
        ):
            trainer = edge_trainer(Path(folder), device, precision, batch, crop)
            stage = trainer.config.stages[0]
            criterion = Criterion(trainer.labels.num_classes, stage.loss, process_mean=trainer.accelerator.mean)
            images, targets = trainer.batches.get(stage, 0, 0)
            trainer.start_stage(stage)
            losses[what] = trainer._step(stage, criterion, images, targets)["loss"]

            def step(*, trainer=trainer, stage=stage, criterion=criterion, images=images, targets=targets) -> None:
                trainer._step(stage, criterion, images, targets)

            taken = duration(device, [[]], step)
            row[what] = taken | {"images_per_s": 1e6 * batch / taken["median_us"]}
    row["first loss"] = losses
    first = list(losses.values())
    row["ok"] = all(abs(loss - first[0]) <= 0.02 * abs(first[0]) for loss in first)
    return row


def edge_trainer(out: Path, device: Device, precision: str, batch: int, crop: tuple[int, int]) -> Trainer:
    """The trainer of m2a-edge on drawn frames, backbone included."""
    stage = {
        "name": "known",
        "iterations": 1000,
        "batch_size": batch,
        "lr": 1e-4,
        "warmup": 1,
        "freeze_backbone": False,
        "loss": {"num_points": 1024},
    }
    changes = {
        "model": "m2a-edge",
        "precision": precision,
        "stages": [stage],
        "data": {"max_segments": 12, "held_apart": 0.25, "augment": {"crop": list(crop)}},
    }
    config = train_config(**changes)
    network = MODELS["m2a-edge"]
    known = frames(4)
    mix = AnomalyMix([cutout("ball", (250, 20, 200))], cut_known_objects(known))
    torch.manual_seed(config.seed)
    model = build_model(network)
    batches = Batches(known, mix, network.labels, config.data, config.seed)
    accelerator = Accelerator(precision, cpu=device.name == "cpu")
    return Trainer(config, model, network.labels, batches, out, lambda _: {}, accelerator)
