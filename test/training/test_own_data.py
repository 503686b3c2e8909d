"""Own data from the check to a running model, and what training says and does where the data are odd."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from m2a_core.bundle.loading import load_bundle
from m2a_core.cli.main import main
from m2a_core.model import build_model
from m2a_core.training.build import prepare
from m2a_core.training.config import LossConfig, load_config
from m2a_core.training.initial import find_weights, load_by_class
from m2a_core.training.losses import Criterion
from m2a_core.training.own import shortened
from m2a_core.training.targets import make_target
from test.data.own_roots import classes, write_own
from test.training.synthetic import STAGES, write_outliers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_in_zoo")]

OWN_YAML = Path(__file__).resolve().parents[2] / "config" / "training" / "own.yaml"


def write_config(folder: Path, **data: Any) -> Path:
    """A configuration for the tiny network, with a stage of known classes and one of outliers."""
    content = {
        "name": "own",
        "model": "tiny",
        "threads": 1,
        "stages": STAGES,
        "data": {
            "format": "folder",
            "segments": "instance",
            "max_segments": 12,
            "validation_kinds": "",
            "outliers": {"source": "auto"},
            "augment": {"crop": [64, 96], "scale_base": "height"},
            **data,
        },
        "validation": {"every": 2, "frames": 2, "input_size": [64, 96]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def train(tmp_path: Path, root: Path, *more: str, **data: Any) -> int:
    config = write_config(tmp_path / "config", **data)
    return main(["train", "--config", str(config), "--data-root", str(root), "--out", str(tmp_path / "run"), *more])


def test_own_classes_go_from_masks_to_a_model_that_finds_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    entries = classes(5, first=3, step=400, things=(1, 3))
    root = write_own(tmp_path / "root", entries)
    assert main(["data", "check", str(root)]) == 0
    assert train(tmp_path, root, "--steps", "2") == 0
    text = capsys.readouterr().out
    assert "note: no outliers: the network learns your classes and never sees an unknown object" in text
    assert "note: left out without outliers: stage outlier\n" in text
    assert "nan" not in text
    weights, bundle = tmp_path / "run" / "tiny.safetensors", tmp_path / "bundle"
    assert main(["export", "--weights", str(weights), "--model", "tiny", "--size", "64x96", "--out", str(bundle),
                 "--frames", str(root / "images" / "val")]) == 0  # fmt: skip
    labels = load_bundle(bundle).manifest.labels
    assert labels.names == tuple(entry["name"] for entry in entries)
    assert labels.colors == tuple(tuple(entry["color"]) for entry in entries)
    assert (labels.things, labels.road) == ({1, 3}, None)
    for number, name in enumerate(("own", "folder")):
        report = tmp_path / f"{number}.json"
        assert (
            main(["evaluate", "--dataset", name, "--root", str(root), "--model", str(bundle), "--json", str(report)])
            == 0
        )
        figures = json.loads(report.read_text())
        assert figures["n_frames"] == 3
        assert set(figures["iou"]) == set(labels.names)
        truth = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted((root / "masks" / "val").iterdir())]
        assert np.sum(figures["confusion"]["counts"]) == sum(int((mask != 255).sum()) for mask in truth)
    capsys.readouterr()
    assert main(["predict", str(root / "images" / "val"), "--model", str(bundle), "--out", str(tmp_path / "out")]) == 0
    assert "none of its classes is the road: no second look" in capsys.readouterr().err
    with np.load(tmp_path / "out" / "val.drive_0000.npz") as maps:
        assert int(maps["semantic"].max()) < 5
        assert "horizon" not in maps
        assert np.array_equal(maps["refined"], maps["refined_road"])


@pytest.mark.parametrize(
    ("things", "splits"),
    [
        ((), {"train": 3, "val": 1}),
        (range(3), {"train": 3, "val": 1}),
        ((1,), {"train": 1}),
        ((1,), {"train": 2, "val": 0}),
    ],
    ids=["no things", "only things", "one frame", "empty val"],
)
def test_odd_data_train(tmp_path: Path, capsys: pytest.CaptureFixture, things: Any, splits: dict[str, int]) -> None:
    root = write_own(tmp_path / "root", classes(3, things=things), splits, sizes=[(40, 30), (97, 255)])
    write_outliers(root / "outliers", {"ball": (250, 20, 200), "box": (20, 40, 250)})
    assert train(tmp_path, root, "--steps", "2") == 0
    text = capsys.readouterr().out
    assert things or "note: no thing can be cut out of the frames: nothing known is pasted" in text
    assert ("note: val is empty: nothing is measured during training" in text) == (not splits.get("val"))
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    # Both stages: there are outliers.
    assert [entry["stage"] for entry in log if entry["kind"] == "train"] == ["known", "known", "outlier", "outlier"]
    assert any(entry["kind"] == "validation" for entry in log) == bool(splits.get("val"))


def test_frames_without_any_label_train(tmp_path: Path) -> None:
    root = write_own(tmp_path / "root", classes(2), {"train": 2, "val": 1})
    for mask in (root / "masks" / "train").iterdir():
        cv2.imwrite(str(mask), np.full_like(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), 255))
    assert train(tmp_path, root, "--steps", "2") == 0
    state = load_file(tmp_path / "run" / "tiny.safetensors")
    assert all(bool(torch.isfinite(x).all()) for x in state.values())


def test_nothing_is_learnt_from_a_mask_that_nobody_labelled(tmp_path: Path) -> None:
    root = write_own(tmp_path / "root", classes(3), {"train": 2, "val": 1})
    mask = min((root / "masks" / "train").iterdir())
    cv2.imwrite(str(mask), np.full_like(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), 255))
    config = write_config(tmp_path / "config")
    run = prepare(load_config(config), config.parent, root)
    taught = {}
    for frame in (source.read() for source in run.sources.train):
        size = (frame.label.shape[0] // 4, frame.label.shape[1] // 4)
        class_logits, mask_logits = torch.zeros(1, 5, 4, requires_grad=True), torch.zeros(1, 5, *size)
        target = make_target(frame.label, np.zeros(frame.label.shape, bool), run.network.labels, 1, 5, frame.partial)
        loss, _ = Criterion(3, LossConfig(num_points=16))([(class_logits, mask_logits)], [target])
        (gradient,) = torch.autograd.grad(loss, class_logits)
        taught[frame.name] = bool(gradient.any())
    assert taught == {mask.stem: False, max((root / "masks" / "train").iterdir()).stem: True}


def test_broken_data_are_refused_before_the_first_step(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write_own(tmp_path / "root", classes(2))
    for mask in sorted((root / "masks" / "train").iterdir())[:2]:
        mask.unlink()
    assert train(tmp_path, root) == 2
    error = capsys.readouterr().err
    assert re.search(
        r"drive_0000\.jpg: has no mask; .*and 1 more problems.*`m2a data check .*root` names them all", error
    )
    assert not (tmp_path / "run").exists()
    assert train(tmp_path, tmp_path / "root" / "masks") == 2
    assert "classes.yaml: no such file" in capsys.readouterr().err


def test_a_kind_of_outlier_is_no_class_and_a_single_one_is_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = write_own(tmp_path / "root", classes(2))
    write_outliers(root / "outliers", {"class 1": (250, 20, 200)})
    assert train(tmp_path, root, "--steps", "1") == 2
    assert "cut-outs of 'class 1', which is a class of root" in capsys.readouterr().err
    write_outliers(root / "outliers", {"ball": (250, 20, 200)})
    assert train(tmp_path, root, "--steps", "1") == 0
    assert "the ranking of unknown objects is not measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    "call", [["train", "--check"], ["train", "--dry-run"], ["data", "check"], ["data", "split", "--out", "out"]]
)
def test_images_that_are_left_out_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, call: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_own(tmp_path / "root", classes(2))
    (root / "images" / "extra").mkdir()
    (root / "images" / "extra" / "a.png").write_bytes(next((root / "images" / "train").glob("*.png")).read_bytes())
    command, *more = call
    code = train(tmp_path, root, *more) if command == "train" else main([command, more[0], str(root), *more[1:]])
    assert code == 0
    assert "note: root/images: 1 images are in no folder of a split" in capsys.readouterr().out.replace(
        f"{tmp_path}/", ""
    )


@pytest.mark.parametrize("call", ["--check", "--dry-run", "--resume"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("class 1", "is a class of root"),
        # The first kind by name is measured with; those below are trained on.
        ("CLASS 1", "is a class of root"),
        ("Moped", "belongs to 'class 0' of root"),
    ],
)
def test_no_known_class_is_taught_or_measured_as_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture, call: str, kind: str, said: str
) -> None:
    root = write_own(tmp_path / "root", classes(2))
    # YOLO's classes go by name, and images without a text have no objects.
    (root / "data.yaml").write_text("names: [moped, class 1]")
    entries = [{"name": "class 0", "from": ["moped"]}, {"name": "class 1", "thing": True}]
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": entries}))
    for other in ("aardvark", "zebra"):
        write_outliers(root / "outliers", {kind: (250, 20, 200), other: (20, 250, 200)})
        assert train(tmp_path, root, call, format="yolo-seg") == 2
        assert f"outliers: cut-outs of '{kind}', which {said}: it would be" in capsys.readouterr().err


def test_steps_shorten_every_stage_and_must_be_some(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = load_config(OWN_YAML)
    assert [stage.iterations for stage in shortened(config, 30).stages] == [30, 30]
    assert all(stage.warmup < 30 for stage in shortened(config, 30).stages)
    longer = shortened(config, 10**6)
    assert longer == config
    assert train(tmp_path, tmp_path, "--steps", "0") == 2
    assert "--steps: expected at least 1, got 0" in capsys.readouterr().err


def test_the_shipped_configuration_and_weights_take_any_classes(tmp_path: Path) -> None:
    known = load_bundle("m2a-edge").manifest.labels
    entries = [{**e, "name": n} for e, n in zip(classes(3), (known.names[3], "moose", known.names[0]), strict=True)]
    root = write_own(tmp_path / "root", entries, {"train": 1, "val": 1})
    prepared = prepare(load_config(OWN_YAML), OWN_YAML.parent, root)
    assert [stage.name for stage in prepared.config.stages] == ["known"]
    assert (prepared.network.name, prepared.network.labels.names) == ("m2a-edge", tuple(e["name"] for e in entries))
    weights = find_weights("m2a-edge", OWN_YAML.parent)
    model = build_model(prepared.network)
    assert load_by_class(model, weights, [[e["name"]] for e in entries]) == [known.names[3], known.names[0]]
    shipped, head = (
        load_file(weights)["transformer_decoder.class_head.weight"],
        model.transformer_decoder.class_head.weight,
    )
    assert torch.equal(head[[0, 2, 3]], shipped[[3, 0, -1]])


def test_a_time_estimate_is_printed_after_twenty_steps(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write_own(tmp_path / "root", classes(2), {"train": 2}, sizes=[(64, 96)])
    path = write_config(tmp_path / "config")
    content = yaml.safe_load(path.read_text())
    content["stages"] = [{**STAGES[0], "iterations": 22, "batch_size": 1}]
    path.write_text(yaml.safe_dump(content))
    assert main(["train", "--config", str(path), "--data-root", str(root), "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert (
        len(re.findall(r"time estimate after 20 steps: .* s a step, about .* for the 2 steps that are left", text)) == 1
    )
