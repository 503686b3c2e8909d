"""Several processes give what one gives; bf16; batches prepared ahead; frames that break in the middle of a run."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.model import build_model
from m2a_core.model.backbones.swin import DropPath
from m2a_core.training.accelerator import Accelerator
from m2a_core.training.batches import Batches, in_order
from m2a_core.training.datasets import FramesOnDisk, FrameSource
from m2a_core.training.network import TrainedNetwork
from m2a_core.training.outliers import AnomalyMix
from m2a_core.training.state import load_checkpoint
from m2a_core.training.trainer import Trainer
from test.training.synthetic import STAGES, TINY, cutout, frames, tiny_trainer, train_config

pytestmark = pytest.mark.slow

WIDE = [stage | {"batch_size": 4, "iterations": 3} for stage in STAGES]


def forget_precision() -> None:
    """Accelerate keeps one precision per process; its own tests use this to make it forget."""
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001


@pytest.fixture
def other_precision():
    forget_precision()
    yield
    forget_precision()


def train_as_rank(rank: int, world: int, port: int, out: Path) -> None:
    """One process of several, told by the environment who it is."""
    join_processes(rank, world, port)
    trainer = tiny_trainer(out, train_config(stages=WIDE))
    assert trainer.accelerator.world == world
    assert trainer.run()
    torch.distributed.destroy_process_group()


def join_processes(rank: int, world: int, port: int) -> None:
    """What torchrun does."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    forget_precision()
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two")
    run_two(train_as_rank, out)
    return out


def run_two(target: Callable[[int, int, int, Path], None], out: Path) -> None:
    """Run two processes to a good end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, args=(rank, 2, port, out)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]


def train_records(out: Path) -> list[dict]:
    records = map(json.loads, (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [r for r in records if r["kind"] == "train"]


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([v.double().ravel() for v in state.values()])


def test_two_processes_train_what_one_trains_on_the_same_batches(two_processes, tmp_path):
    one = tiny_trainer(tmp_path, train_config(stages=WIDE))
    start = flat(one.model.state_dict())
    assert one.run()
    ours, theirs = train_records(tmp_path), train_records(two_processes)
    assert len(theirs) == 6, "the main process alone writes the log"
    for a, b in zip(ours, theirs, strict=True):
        for key in ("loss", "ce", "bce", "dice", "pixel", "grad_norm"):
            assert b[key] == pytest.approx(a[key], rel=2e-3), (a["stage"], a["step"], key)
    # The first step has seen no rounding but that of its own sums.
    assert theirs[0]["loss"] == pytest.approx(ours[0]["loss"], rel=1e-5)
    assert theirs[0]["grad_norm"] == pytest.approx(ours[0]["grad_norm"], rel=1e-4)
    states = [load_checkpoint(out / "checkpoint.pt") for out in (tmp_path, two_processes)]
    for part in ("model", "average"):
        here, there = (flat(state[part]) for state in states)
        assert float((here - there).norm() / (here - start).norm()) < 0.02, part


def test_parts_make_up_the_batch_and_hold_unlike_numbers_of_pixels():
    """Without the latter, the equality above would hold for losses that are averaged per process, too."""
    config = train_config(stages=WIDE)
    batches = Batches(frames(4), AnomalyMix([cutout("ball", (250, 20, 200))], []), CAMVID11, config.data, config.seed)
    stage = config.stages[1]
    images, targets = batches.get(stage, 1, 2)
    parts = [batches.get(stage, 1, 2, rank, 2) for rank in (0, 1)]
    assert torch.equal(images, torch.cat([part for part, _ in parts]))
    outliers = [sum(int(t.outlier.sum()) for t in some) for _, some in parts]
    assert sum(outliers) == sum(int(t.outlier.sum()) for t in targets)
    assert outliers[0] != outliers[1]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    class Three(Accelerator):
        world = 3

    trainer = tiny_trainer(tmp_path)
    with pytest.raises(ConfigError, match="stage 'known': batch_size 2 cannot be shared by 3 processes"):
        Trainer(train_config(), trainer.model, CAMVID11, trainer.batches, tmp_path, lambda m: {}, Three(cpu=True))


def test_bf16_trains_float32_weights_on_nearly_the_same_losses(tmp_path, other_precision):
    stages = [STAGES[0] | {"iterations": 2}]
    exact = tiny_trainer(tmp_path / "exact", train_config(stages=stages))
    exact.run()
    forget_precision()
    coarse = tiny_trainer(tmp_path / "coarse", train_config(stages=stages, precision="bf16"))
    assert coarse.run()
    assert {v.dtype for v in coarse.model.state_dict().values() if v.is_floating_point()} == {torch.float32}
    a, b = train_records(tmp_path / "exact"), train_records(tmp_path / "coarse")
    assert b[0]["loss"] == pytest.approx(a[0]["loss"], rel=0.05)
    assert b[0]["loss"] != a[0]["loss"], "something ran in bf16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 needs a GPU, and here is one")
def test_fp16_without_a_gpu_is_refused_in_words(other_precision):
    with pytest.raises(ConfigError, match="precision 'fp16'"):
        Accelerator("fp16", cpu=True)


def test_batches_prepared_ahead_are_the_same_batches():
    config = train_config()
    batches = Batches(frames(3), AnomalyMix([], []), CAMVID11, config.data, 1)
    stage = dataclasses.replace(config.stages[0], known_paste_prob=0.0)
    direct = list(in_order(batches, stage, 0, 1, 0, 1, workers=0))
    ahead = list(in_order(batches, stage, 0, 1, 0, 1, workers=1))
    assert len(direct) == len(ahead) == stage.iterations - 1
    for (a, targets), (b, same) in zip(direct, ahead, strict=True):
        assert torch.equal(a, b)
        assert all(torch.equal(x.segments, y.segments) for x, y in zip(targets, same, strict=True))


def test_a_frame_that_breaks_in_the_middle_stops_with_a_checkpoint_of_every_step_before(tmp_path):
    whole = frames(4)
    state = {"broken": False}

    def read(index: int):
        if state["broken"]:
            raise DataError("frame_3.png: missing or not a readable image")
        return whole[index]

    config = train_config(checkpoint_every=100)
    on_disk = FramesOnDisk([FrameSource(f"f{i}", lambda i=i: read(i)) for i in range(4)])
    mix = AnomalyMix([cutout("ball", (250, 20, 200))], [])
    stages = [stage | {"known_paste_prob": 0.0} for stage in STAGES]
    config = train_config(checkpoint_every=100, stages=stages)
    trainer = tiny_trainer(tmp_path, config, Batches(on_disk, mix, CAMVID11, config.data, 1))
    get = trainer.batches.get

    def spy(stage, index, step):
        state["broken"] = index == 0 and step == 3
        return get(stage, index, step)

    trainer.batches.get = spy  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"frame_3\.png"):
        trainer.run()
    saved = load_checkpoint(trainer.checkpoint)
    assert (saved["stage"], saved["step"]) == (0, 3)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(saved["model"][name], value)


def break_in_rank_one(rank: int, world: int, port: int, out: Path) -> None:
    """One process' frame breaks in step 2: both must end with a DataError, the main one with a checkpoint."""
    join_processes(rank, world, port)
    trainer = tiny_trainer(out, train_config(stages=WIDE, checkpoint_every=100))
    get = trainer.batches.get

    def spy(stage, index, step, *part):
        if (rank, index, step) == (1, 0, 2):
            raise DataError("frame_3.png: missing or not a readable image")
        return get(stage, index, step, *part)

    trainer.batches.get = spy
    with pytest.raises(DataError, match="frame_3" if rank == 1 else "another process"):
        trainer.run()
    torch.distributed.destroy_process_group()


def test_a_frame_that_breaks_in_one_process_stops_all_with_a_checkpoint_of_every_step_before(tmp_path):
    run_two(break_in_rank_one, tmp_path)
    saved = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (saved["stage"], saved["step"]) == (0, 2)


def test_stochastic_depth_acts_while_the_backbone_trains_and_batch_statistics_stay():
    model = build_model(TINY)
    model.backbone.extra = nn.Sequential(DropPath(0.3), nn.BatchNorm2d(2))
    network = TrainedNetwork(model, None, frozen=False)
    drop, norm = model.backbone.extra
    assert (drop.training, norm.training) == (True, False)
    network.eval()
    assert drop.training is False
