"""The loop: exact resume, signals, stages, and runs that break."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch

from m2a_core.errors import CheckpointError
from m2a_core.model import build_model
from m2a_core.training.batches import Batches
from m2a_core.training.errors import TrainingError
from m2a_core.training.log import RunLog
from m2a_core.training.resuming import Progress
from m2a_core.training.state import load_checkpoint
from m2a_core.training.trainer import Trainer
from test.training.synthetic import STAGES, TINY, tiny_trainer, train_config

pytestmark = pytest.mark.slow

TOTAL = 8
"""Steps of both stages; the first has 4."""


class Killed(Exception):
    """Stands for a kill: nothing is saved after it."""


def call_before(trainer: Trainer, total_step: int, action) -> None:
    """Have the batches call ``action`` before a step, counted over the stages."""
    get = trainer.batches.get

    def spy(stage, stage_index, step):
        if 4 * stage_index + step == total_step:
            action()
        return get(stage, stage_index, step)

    trainer.batches.get = spy  # type: ignore[assignment]


def die() -> None:
    raise Killed


def terminate() -> None:
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "SIGTERM would end the tests"
    os.kill(os.getpid(), signal.SIGTERM)


def flatten(value, path=""):
    """Every tensor and number of a nested checkpoint by its path."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from flatten(inner, f"{path}/{key}")
    else:
        yield path, value


def assert_same_run(one: Trainer, other: Trainer) -> None:
    states = [dict(flatten(load_checkpoint(t.checkpoint))) for t in (one, other)]
    assert states[0].keys() == states[1].keys()
    for path, value in states[0].items():
        same = torch.equal(value, states[1][path]) if isinstance(value, torch.Tensor) else value == states[1][path]
        assert same, path
    for name, module in (("model", "model"), ("average", "averages.network"), ("pixel_head", "pixel_head")):
        part = attrgetter(module)
        for (key, a), b in zip(part(one).state_dict().items(), part(other).state_dict().values(), strict=True):
            assert torch.equal(a, b), f"{name}.{key}"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Trainer:
    torch.set_num_threads(1)
    trainer = tiny_trainer(tmp_path_factory.mktemp("whole"))
    assert trainer.run()
    return trainer


def test_training_moves_every_part_but_the_frozen_backbone(uninterrupted):
    torch.manual_seed(uninterrupted.config.seed)
    start = build_model(TINY).state_dict()
    trained = uninterrupted.model.state_dict()
    for key, before in start.items():
        if key.startswith("backbone."):
            assert torch.equal(before, trained[key]), key
    for part in (
        "pixel_decoder.",
        "transformer_decoder.query_features",
        "transformer_decoder.mask_head",
        "transformer_decoder.class_head",
    ):
        assert any(not torch.equal(before, trained[k]) for k, before in start.items() if k.startswith(part)), part


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path, step):
    """Kills between two checkpoints (every 2 steps), right after the change of stage, and in the last stage."""
    killed = tiny_trainer(tmp_path)
    call_before(killed, step, die)
    with pytest.raises(Killed):
        killed.run()
    resumed = tiny_trainer(tmp_path)
    if resumed.checkpoint.exists():
        resumed.resume()
    done = 4 * resumed.progress.stage + resumed.progress.step
    assert done == step // 2 * 2, "what was lost is at most what lies after the last checkpoint"
    assert resumed.run()
    assert_same_run(resumed, uninterrupted)


@pytest.mark.parametrize("step", [0, 3, 5])
def test_sigterm_finishes_the_step_saves_and_the_resumed_run_is_exact(uninterrupted, tmp_path, step):
    before = signal.getsignal(signal.SIGTERM)
    stopped = tiny_trainer(tmp_path)
    call_before(stopped, step, terminate)
    assert stopped.run() is False
    assert signal.getsignal(signal.SIGTERM) is before

    resumed = tiny_trainer(tmp_path)
    resumed.resume()
    assert 4 * resumed.progress.stage + resumed.progress.step == step + 1
    assert resumed.run() is True
    assert_same_run(resumed, uninterrupted)


def test_sigterm_in_the_very_last_step_is_a_finished_run(uninterrupted, tmp_path):
    trainer = tiny_trainer(tmp_path)
    call_before(trainer, TOTAL - 1, terminate)
    assert trainer.run() is True
    assert_same_run(trainer, uninterrupted)


def test_a_process_killed_by_the_system_resumes_exactly(uninterrupted, tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from test.training.synthetic import tiny_trainer\n"
        "from test.training.test_trainer import call_before\n"
        "trainer = tiny_trainer(Path(sys.argv[1]))\n"
        "call_before(trainer, 5, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "trainer.run()"
    )
    repository = Path(__file__).resolve().parents[2]
    process = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    resumed = tiny_trainer(tmp_path)
    resumed.resume()
    assert (resumed.progress.stage, resumed.progress.step) == (1, 0)
    assert resumed.run()
    assert_same_run(resumed, uninterrupted)


@pytest.mark.parametrize(("step", "kept"), [(0, "nothing was saved yet"), (4, "--resume goes on from")])
def test_a_killed_process_that_prepares_batches_ends_the_run_in_words(uninterrupted, tmp_path, step, kept):
    trainer = tiny_trainer(tmp_path, train_config(workers=1))
    call_before(trainer, step, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(TrainingError, match=rf"prepares batches ended .*{kept}.* workers: 0"):
        trainer.run()
    if step:
        resumed = tiny_trainer(tmp_path)
        resumed.resume()
        assert resumed.run()
        assert_same_run(resumed, uninterrupted)


def test_another_seed_gives_other_weights(uninterrupted, tmp_path):
    """Equality above is not the equality of runs that learn nothing."""
    other = tiny_trainer(tmp_path, train_config(seed=2))
    assert other.run()
    with pytest.raises(AssertionError):
        assert_same_run(other, uninterrupted)


def test_the_outlier_stage_starts_from_the_averaged_weights(tmp_path):
    trainer = tiny_trainer(tmp_path)
    seen: dict[str, Any] = {}

    def look() -> None:
        seen["model"] = {k: v.clone() for k, v in trainer.model.state_dict().items()}
        seen["average"] = {k: v.clone() for k, v in trainer.averages.network.state_dict().items()}
        seen["steps"] = len(trainer.optimizer.state)

    call_before(trainer, 4, look)
    last = {}
    call_before(trainer, 3, lambda: last.update(model={k: v.clone() for k, v in trainer.model.state_dict().items()}))
    trainer.run()
    assert all(torch.equal(v, seen["average"][k]) for k, v in seen["model"].items())
    assert any(not torch.equal(v, seen["average"][k]) for k, v in last["model"].items())
    assert seen["steps"] == 0, "the optimiser starts anew"


def test_a_trained_backbone_moves_at_its_own_rate(tmp_path):
    stage = STAGES[0] | {"freeze_backbone": False, "backbone_lr": 0.1, "iterations": 1, "warmup": 0}
    trainer = tiny_trainer(tmp_path, train_config(stages=[stage]))
    before = {k: v.clone() for k, v in trainer.model.backbone.state_dict().items()}
    trainer.run()
    after = trainer.model.backbone.state_dict()
    assert not torch.equal(after["stem.conv.weight"], before["stem.conv.weight"])
    # The first step of Adam is the rate itself, a tenth of the heads' 1e-3, less near its epsilon.
    step = (after["stem.conv.weight"] - before["stem.conv.weight"] * (1 - 1e-4 * 0.05)).abs().max()
    assert 2e-5 < float(step) < 1.01e-4
    for key in before:
        if "running" in key:
            assert torch.equal(after[key], before[key]), "batch statistics stay those of ImageNet"


def test_every_step_and_validation_is_logged(uninterrupted):
    lines = (uninterrupted.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    train = [r for r in records if r["kind"] == "train"]
    assert [(r["stage"], r["step"]) for r in train] == [(s, i) for s in ("known", "outlier") for i in (1, 2, 3, 4)]
    for r in train:
        assert {"loss", "ce", "bce", "dice", "pixel", "grad_norm", "lr", "seconds"} <= r.keys()
        assert ("contrastive" in r) == (r["stage"] == "outlier")
        parts = 2 * r["ce"] + 5 * r["bce"] + 5 * r["dice"] + r["pixel"] + r.get("contrastive", 0)
        assert r["loss"] == pytest.approx(parts, rel=1e-4)
    assert [r["lr"] for r in train[:2]] == pytest.approx([5e-4, 1e-3])
    checks = [(r["stage"], r["step"]) for r in records if r["kind"] == "validation"]
    assert checks == [("known", 3), ("known", 4), ("outlier", 3), ("outlier", 4)]
    assert list((uninterrupted.out / "tensorboard").iterdir())


def broken_batches(trainer: Trainer, total_step: int) -> None:
    get = trainer.batches.get

    def spoiled(stage, stage_index, step):
        images, targets = get(stage, stage_index, step)
        if 4 * stage_index + step == total_step:
            images[0, 0, 3, 5] = float("nan")
        return images, targets

    trainer.batches.get = spoiled  # type: ignore[assignment]


def test_a_loss_that_is_no_number_stops_with_the_batch_saved_and_the_old_checkpoint_whole(tmp_path):
    trainer = tiny_trainer(tmp_path)
    broken_batches(trainer, 3)
    contents = {}
    call_before(trainer, 3, lambda: contents.update(before=trainer.checkpoint.read_bytes()))
    with pytest.raises(TrainingError) as caught:
        trainer.run()
    message = str(caught.value)
    path = tmp_path / "bad_batch_0_3.pt"
    assert "the loss is not finite" in message
    assert str(path) in message
    assert str(trainer.checkpoint) in message
    batch = torch.load(path, weights_only=True)
    assert torch.isnan(batch["images"]).sum() == 1
    assert batch["images"].shape == (2, 3, 64, 96)
    assert batch["labels"].shape == batch["outlier"].shape == (2, 64, 96)
    assert trainer.checkpoint.read_bytes() == contents["before"]
    state = load_checkpoint(trainer.checkpoint)
    assert (state["stage"], state["step"]) == (0, 2)
    assert all(torch.isfinite(v).all() for v in state["model"].values())
    before = load_checkpoint(tmp_path / "before_bad_batch.pt")
    assert str(tmp_path / "before_bad_batch.pt") in message
    assert (before["stage"], before["step"]) == (0, 3)


def test_a_run_that_breaks_before_its_first_checkpoint_loses_no_step_and_names_no_file_that_is_not(tmp_path):
    trainer = tiny_trainer(tmp_path, train_config(checkpoint_every=100))
    broken_batches(trainer, 3)
    with pytest.raises(TrainingError, match=r"before_bad_batch\.pt \(as checkpoint\.pt, --resume takes it\)"):
        trainer.run()
    assert not trainer.checkpoint.exists()
    (tmp_path / "before_bad_batch.pt").replace(trainer.checkpoint)
    resumed = tiny_trainer(tmp_path, train_config(checkpoint_every=100))
    resumed.resume()
    assert (resumed.progress.stage, resumed.progress.step) == (0, 3)
    assert resumed.run()


def test_points_depend_on_seed_stage_step_and_image_in_the_bits_that_the_generator_reads(tmp_path):
    drawn = {}
    for seed in (1, 2, 2**24 - 1):
        trainer = tiny_trainer(tmp_path, train_config(seed=seed))
        for stage, step, image in itertools.product((0, 3), (0, 1), (0, 1)):
            trainer.progress = Progress(stage, step)
            torch.manual_seed(trainer.seed_of(0, step, image))
            drawn[seed, stage, step, image] = tuple(torch.rand(2).tolist())
    assert len(set(drawn.values())) == len(drawn)


def test_a_full_disk_under_tensorboard_costs_its_log_alone(tmp_path, capsys):
    log = RunLog(tmp_path, enabled=True)

    class Full:
        def add_scalar(self, *_values) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    log.writer = Full()
    for step in (1, 2):
        log.add("train", {"loss": 1.5}, step)
    log.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert "No space left on device" in capsys.readouterr().out


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path):
    trainer = tiny_trainer(tmp_path)
    trainer.model.transformer_decoder.query_features.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match="the gradient is not finite"):
        trainer.run()
    assert all(torch.isfinite(v).all() for v in trainer.model.state_dict().values())
    assert (tmp_path / "bad_batch_0_0.pt").exists()


def test_a_checkpoint_that_cannot_be_written_stops_the_run_and_keeps_the_old_one(tmp_path):
    trainer = tiny_trainer(tmp_path)
    contents = {}

    def block() -> None:
        contents["before"] = trainer.checkpoint.read_bytes()
        (tmp_path / ".checkpoint.partial.pt").mkdir()

    call_before(trainer, 3, block)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: cannot be written"):
        trainer.run()
    assert trainer.checkpoint.read_bytes() == contents["before"]
    (tmp_path / ".checkpoint.partial.pt").rmdir()
    resumed = tiny_trainer(tmp_path)
    resumed.resume()
    assert (resumed.progress.stage, resumed.progress.step) == (0, 2)


def test_a_checkpoint_from_before_there_was_loss_scaling_resumes(tmp_path):
    trainer = tiny_trainer(tmp_path)
    call_before(trainer, 2, terminate)
    trainer.run()
    state = load_checkpoint(trainer.checkpoint)
    del state["scaler"]
    torch.save(state, trainer.checkpoint)
    resumed = tiny_trainer(tmp_path)
    resumed.resume()
    assert (resumed.progress.stage, resumed.progress.step) == (0, 3)


def test_a_log_that_cannot_be_written_stops_in_words(tmp_path):
    trainer = tiny_trainer(tmp_path)
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(TrainingError, match=r"metrics\.jsonl: cannot be written .* free some space.*--resume"):
        trainer.run()


def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n{"kind": "train", "st', encoding="utf-8")
    log = RunLog(tmp_path, enabled=True)
    log.add("train", {"step": 2}, 2)
    log.close()
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_without_tensorboard_a_run_logs_its_lines_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = RunLog(tmp_path, enabled=True)
    log.add("train", {"loss": 1.5}, 1)
    log.close()
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"kind": "train", "loss": 1.5}


def test_a_checkpoint_of_another_network_is_refused(uninterrupted, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(uninterrupted.checkpoint.read_bytes())
    trainer = tiny_trainer(tmp_path)
    trainer.pixel_head = torch.nn.Conv2d(16, 5, 1)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        trainer.resume()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda names: (names[1], names[0], *names[2:]), "class 0 was 'sky' and is 'building'"),
        (lambda names: (*names[:-1], "moose"), "class 10 was 'bicyclist' and is 'moose'"),
        (lambda names: names[:-1], "there were 11 classes and there are 10"),
    ],
)
def test_a_run_does_not_resume_with_other_classes(uninterrupted, tmp_path, change, said):
    (tmp_path / "checkpoint.pt").write_bytes(uninterrupted.checkpoint.read_bytes())
    trainer = tiny_trainer(tmp_path)
    names = change(trainer.labels.names)
    trainer.labels = replace(
        trainer.labels, names=names, colors=trainer.labels.colors[: len(names)], things=frozenset()
    )
    with pytest.raises(CheckpointError, match=f"checkpoint.pt: was trained on other classes: {said}"):
        trainer.resume()


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([STAGES[1]], "stage 0 was 'known' and is 'outlier' now"),
        ([STAGES[0], STAGES[0] | {"name": "more"}, STAGES[1]], "stage 1 was 'outlier' and is 'more' now"),
        ([STAGES[0]], "stage 1 was 'outlier' and is not there now"),
    ],
)
def test_a_run_does_not_resume_in_another_stage(tmp_path, stages, said):
    stopped = tiny_trainer(tmp_path)
    call_before(stopped, 5, terminate)
    assert not stopped.run()
    with pytest.raises(CheckpointError, match=f"checkpoint.pt: {said}"):
        tiny_trainer(tmp_path, train_config(stages=stages)).resume()


def test_a_run_that_has_not_begun_a_stage_takes_another_one_in_its_place(tmp_path):
    assert tiny_trainer(tmp_path, train_config(stages=STAGES[:1])).run()
    further = tiny_trainer(tmp_path, train_config(stages=[STAGES[0], STAGES[1] | {"name": "late", "iterations": 1}]))
    further.resume()
    assert (further.progress.stage, further.progress.step) == (1, 0)
    assert further.run()


def test_a_checkpoint_from_before_it_named_its_classes_resumes(tmp_path):
    trainer = tiny_trainer(tmp_path)
    call_before(trainer, 2, terminate)
    trainer.run()
    state = load_checkpoint(trainer.checkpoint)
    del state["classes"], state["stages"]
    torch.save(state, trainer.checkpoint)
    resumed = tiny_trainer(tmp_path)
    resumed.resume()
    assert (resumed.progress.stage, resumed.progress.step) == (0, 3)


def test_a_resumed_run_takes_the_rates_of_its_configuration(tmp_path):
    stopped = tiny_trainer(tmp_path)
    call_before(stopped, 1, terminate)
    stopped.run()
    faster = [STAGES[0] | {"lr": 5e-3, "weight_decay": 0.2}, STAGES[1]]
    resumed = tiny_trainer(tmp_path, train_config(stages=faster))
    resumed.resume()
    assert {g["peak"] for g in resumed.optimizer.param_groups} == {5e-3}
    assert {g["weight_decay"] for g in resumed.optimizer.param_groups} == {0.0, 0.2}
    assert len(resumed.optimizer.state) > 50


def test_a_finished_run_resumes_to_nothing(uninterrupted):
    trainer = tiny_trainer(uninterrupted.out)
    trainer.batches = Batches([], None, None, None, 0)
    trainer.resume()
    assert trainer.run()
    assert_same_run(trainer, uninterrupted)
