"""Learning rate, averaged weights, parameter groups, checkpoints."""

from __future__ import annotations

import dataclasses
import math
import resource
from typing import Any

import pytest
import torch
from torch import nn

from m2a_core.errors import CheckpointError
from m2a_core.training.averages import average_of, update_average
from m2a_core.training.broken_step import save_bad_batch
from m2a_core.training.config import StageConfig
from m2a_core.training.state import learning_rate, load_checkpoint, parameter_groups, save_checkpoint
from m2a_core.training.targets import Target

NOTHING = torch.zeros(1, 1, dtype=torch.int64)
EMPTY = Target(torch.zeros(0), NOTHING, NOTHING, NOTHING, NOTHING)
STAGE = StageConfig("s", iterations=100, lr=2e-4, warmup=10, min_lr=0.05, weight_decay=0.05, backbone_lr=0.1)


def test_the_rate_warms_up_linearly_to_its_peak_and_falls_along_a_cosine():
    rates = [learning_rate(STAGE, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx((1 + 0.05) / 2)
    assert rates[32] == pytest.approx(0.05 + 0.95 * (1 + math.cos(math.pi * 22 / 90)) / 2)
    assert rates[99] == pytest.approx(0.05, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_without_warm_up_the_first_step_takes_the_peak():
    assert learning_rate(StageConfig("s", iterations=5, warmup=0), 0) == 1.0


def test_a_warm_up_longer_than_the_stage_only_rises():
    assert [learning_rate(StageConfig("s", iterations=2, warmup=4), i) for i in range(2)] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {10: 1.0, 99: 1.0}),
        ("poly", {10: 0.9**0.9, 50: 0.5**0.9, 99: 0.01**0.9}),
        ("steps", {10: 1.0, 88: 1.0, 89: 0.1, 96: 0.1, 97: 0.01}),
    ],
)
def test_other_schedules_follow_the_same_warm_up(schedule, expected):
    stage = dataclasses.replace(STAGE, schedule=schedule)
    assert [learning_rate(stage, step) for step in (0, 9)] == pytest.approx([0.1, 1.0])
    assert {step: learning_rate(stage, step) for step in expected} == pytest.approx(expected)


def test_a_batch_that_cannot_be_saved_hides_no_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert "could not be saved" in save_bad_batch(tmp_path / "file" / "b.pt", torch.zeros(1), [EMPTY])
    assert save_bad_batch(tmp_path / "b.pt", torch.zeros(1), [EMPTY]) == f"the batch is in {tmp_path / 'b.pt'}"


def small_network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_the_average_moves_by_the_decay_once_the_start_is_forgotten():
    model = small_network()
    average = average_of(model)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    expected = [p.clone() for p in average.parameters()]
    for step, decay in ((0, 1 / 10), (5, 6 / 15), (10_000, 0.99)):
        update_average(average, model, 0.99, step)
        expected = [decay * e + (1 - decay) * p for e, p in zip(expected, model.parameters(), strict=True)]
    for kept, e in zip(average.parameters(), expected, strict=True):
        torch.testing.assert_close(kept, e)


def test_the_average_copies_statistics_and_leaves_frozen_weights():
    model = small_network()
    model[0].requires_grad_(False)
    average: Any = average_of(model)
    before = average[0].weight.clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
        model[2].weight.add_(1.0)
        model[1].running_mean.fill_(3.0)
    update_average(average, model, 0.5, 10)
    assert torch.equal(average[0].weight, before)
    assert torch.equal(average[1].running_mean, torch.full((4,), 3.0))
    torch.testing.assert_close(average[2].weight, model[2].weight - 0.5)
    assert not average.training
    assert not any(p.requires_grad for p in average.parameters())


def test_every_trained_parameter_is_in_one_group_with_its_rate_and_decay():
    model: Any = nn.Module()
    model.backbone, model.decoder = small_network(), small_network()
    model.backbone[0].requires_grad_(False)
    head = nn.Conv2d(2, 2, 1)
    groups = parameter_groups(model, head, STAGE)
    where = {id(p): g for g in groups for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(where)
    trained = [*model.backbone[1:].parameters(), *model.decoder.parameters(), *head.parameters()]
    assert set(where) == {id(p) for p in trained}
    for p in trained:
        assert where[id(p)]["weight_decay"] == (0.05 if p.ndim > 1 else 0.0)
    assert where[id(model.backbone[2].weight)]["peak"] == pytest.approx(2e-5)
    assert where[id(model.decoder[2].weight)]["peak"] == pytest.approx(2e-4)
    assert where[id(head.weight)]["peak"] == pytest.approx(2e-4)


STATE: dict[str, Any] = {"step": 3, "model": {"weight": torch.arange(200_000.0)}}


def test_a_checkpoint_reads_back(tmp_path):
    save_checkpoint(tmp_path / "c.pt", STATE)
    state = load_checkpoint(tmp_path / "c.pt")
    assert state["step"] == 3
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


@pytest.fixture
def no_space():
    """Files may not grow beyond 100 kB: writing fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, request):
    path = tmp_path / "c.pt"
    save_checkpoint(path, STATE)
    before = path.read_bytes()
    request.getfixturevalue("no_space")
    with pytest.raises(CheckpointError, match=r"c\.pt: cannot be written .*the previous one is kept"):
        save_checkpoint(path, STATE | {"step": 4})
    assert path.read_bytes() == before
    assert load_checkpoint(path)["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file" / "c.pt", tmp_path / "absent" / "c.pt"):
        with pytest.raises(CheckpointError, match=r"c\.pt: cannot be written"):
            save_checkpoint(path, STATE)


def corrupt_checkpoints():
    yield "empty", lambda data: b""
    yield "garbage", lambda data: b"garbage" * 100
    yield "cut short", lambda data: data[: len(data) // 2]
    yield "flipped", lambda data: data[: len(data) // 2] + b"\xff" * 64 + data[len(data) // 2 + 64 :]


@pytest.mark.parametrize("spoil", [s for _, s in corrupt_checkpoints()], ids=[n for n, _ in corrupt_checkpoints()])
def test_a_damaged_checkpoint_is_named(tmp_path, spoil):
    path = tmp_path / "c.pt"
    save_checkpoint(path, STATE)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"c\.pt"):
        load_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"c\.pt: cannot be read .*No such file"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("content", [{"format": 99}, {"model": {}}, [1, 2]])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="expected format 1 of m2a train"):
        load_checkpoint(tmp_path / "c.pt")


class Payload:
    """Runs on unpickling, if anybody unpickles it."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_checkpoint_with_code_in_it_is_refused_unexecuted(tmp_path):
    torch.save({"format": 1, "model": Payload()}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"c\.pt: cannot be read"):
        load_checkpoint(tmp_path / "c.pt")
