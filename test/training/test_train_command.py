"""``m2a train``: help, dry run, a whole run on drawn data, and calls that are refused."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from m2a_core.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_in_zoo")


@pytest.fixture
def call(data_root, tmp_path):
    """Run the command on the drawn data; returns its exit code."""

    def run(*more: str, config=data_root / "config" / "train.yaml") -> int:
        return main(["train", "--config", str(config), "--data-root", str(data_root), "--out", str(tmp_path), *more])

    return run


def test_help_teaches_by_example(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in (
        "examples:",
        "m2a train --config config/training/m2a-edge.yaml",
        "--resume",
        "--dry-run",
        "metrics.jsonl",
        "exit code",
        "camvid/",
    ):
        assert re.search(re.escape(word).replace(r"\ ", r"\s+"), text), word


def test_a_dry_run_describes_the_data_and_writes_nothing(call, tmp_path, capsys):
    assert call("--dry-run") == 0
    text = capsys.readouterr().out
    assert "12 frames to train on, 2 outlier cut-outs" in text
    assert re.search(r"road +in 12 frames\n", text)
    assert re.search(r"bicyclist +in 0 frames: the network cannot learn it", text)
    assert "stage known: 4 steps; first batch [2, 3, 64, 96]" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_trains_validates_and_writes_its_weights(call, tmp_path, data_root, capsys):
    assert call() == 0
    path = tmp_path / "tiny.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "tiny.safetensors.sha256").read_text() == f"{digest}  tiny.safetensors\n"
    assert digest in capsys.readouterr().out
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    with safe_open(path, "pt") as file:
        assert file.metadata()["stages_done"] == "2"
        assert set(file.keys()) == set(saved["average"])
        assert all(torch.equal(file.get_tensor(k), saved["average"][k]) for k in file.keys())  # noqa: SIM118
    log = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert log.count('"kind": "train"') == 8
    assert log.count("anomaly_auprc") == 2
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == yaml.safe_load(
        (data_root / "config" / "train.yaml").read_text()
    )

    # A second run into the same folder would lose the first one.
    before = load_file(path), (tmp_path / "checkpoint.pt").read_bytes()
    assert call() == 2
    assert "holds a run: add --resume to continue it" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.pt").read_bytes() == before[1]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert call("--resume") == 0
    assert "is finished, all 2 stages are done: nothing is trained" in capsys.readouterr().out
    again = load_file(path)
    assert again.keys() == before[0].keys()
    assert all(torch.equal(again[k], v) for k, v in before[0].items())


@pytest.mark.slow
def test_resuming_without_a_checkpoint_starts(call, tmp_path, data_root):
    text = yaml.safe_load((data_root / "config" / "train.yaml").read_text())
    text["stages"] = [text["stages"][0] | {"iterations": 1}]
    text["data"]["validation_kinds"] = str(data_root / "config" / "kinds.yaml")
    config = tmp_path / "short.yaml"
    config.write_text(yaml.safe_dump(text))
    assert call("--resume", config=config) == 0
    assert (tmp_path / "tiny.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--data-root", "absent"], "frames.csv"),
        (["--out", "{file}/run"], "cannot be written"),
    ],
)
def test_a_bad_call_is_one_clear_line(call, tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("no folder")
    assert call(*(a.format(file=tmp_path / "file") for a in arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
