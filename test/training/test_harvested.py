"""From the names given in a harvest's gallery to trained weights: all three kinds of data in one run."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from m2a_core.labels.builtin import CAMVID11
from m2a_ros.main import main
from test.harvest.sightings import make_harvest, sighting
from test.packaging.conftest import ROOT
from test.training.synthetic import VOID, draw_frame, write_outliers

pytestmark = pytest.mark.usefixtures("tiny_in_zoo")


def export(tmp_path: Path, out: Path) -> None:
    """A harvest with one object of each kind, exported into ``out``."""
    records = [sighting(0, cluster=0), sighting(1, cluster=1), sighting(2, cluster=2, frame="frames/a.jpg")]
    harvest = make_harvest(tmp_path / "harvest", records)
    clusters = {
        "0": {"name": "pallet", "kind": "outlier"},
        "1": {"name": "road paint", "kind": "false_alarm"},
        "2": {"name": "bicyclist", "kind": "class"},
    }
    choices = {"format": 1, "harvest": harvest.hash, "clusters": clusters, "objects": {}}
    (harvest.folder / "choices.json").write_text(json.dumps(choices))
    assert main(["harvest", "export", str(harvest.folder), "--out", str(out)]) == 0


@pytest.mark.slow
def test_outliers_hard_negatives_and_new_classes_of_a_harvest_are_trained_in_one_run(data_root, tmp_path, capsys):
    harvested = tmp_path / "harvested"
    export(tmp_path, harvested)
    config = yaml.safe_load((data_root / "config" / "train.yaml").read_text())
    config["stages"] = config["stages"][1:]
    config["stages"][0]["iterations"] = 2
    data = config["data"]
    data["validation_kinds"] = str(data_root / "config" / "kinds.yaml")
    data["outliers"] = {"more_roots": [str(harvested / "outliers")], "shares": {str(harvested / "outliers"): 0.6}}
    data["hard_negatives"] = {
        "roots": [str(harvested / "hard_negatives")],
        "prob": 0.5,
        "classes": {"road paint": "road"},
    }
    data["annotated"] = {str(harvested / "classes"): 2}
    path = tmp_path / "harvested.yaml"
    path.write_text(yaml.safe_dump(config))
    arguments = ["train", "--config", str(path), "--data-root", str(data_root), "--out", str(tmp_path / "run"), "--cpu"]
    assert main([*arguments, "--check"]) == 0
    said = capsys.readouterr().out
    assert "14 of 14 frames can be read" in said
    assert "outliers: 4 of 3 kinds to train on" in said
    assert "hard negatives: 2 of road paint (as road)" in said
    assert main(arguments) == 0
    assert (tmp_path / "run" / "tiny.safetensors").is_file()


def test_the_configuration_that_ships_takes_own_frames_and_an_export(tmp_path, capsys):
    root = tmp_path / "data"
    for index in range(5):
        image, label = draw_frame(index)
        split = "train" if index < 4 else "val"
        for kind, name, array in (("images", f"a_{index}.jpg", image[..., ::-1]), ("masks", f"a_{index}.png", label)):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / kind / split / name), np.ascontiguousarray(array))
    classes = [
        {"name": name, "id": i, "color": list(CAMVID11.colors[i]), "thing": i in CAMVID11.things}
        for i, name in enumerate(CAMVID11.names)
    ]
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "void": VOID}))
    write_outliers(root / "outliers", {"ball": (250, 20, 200), "box": (20, 40, 250), "fish": (10, 250, 10)})
    export(tmp_path, root / "harvested")
    config = ROOT / "config" / "training" / "harvested.yaml"
    out = tmp_path / "run"
    assert main(["train", "--config", str(config), "--data-root", str(root), "--out", str(out), "--check"]) == 0
    said = capsys.readouterr().out
    assert "hard negatives: 2 of road paint (as what they lie on)" in said
    assert (out / "check.jpg").is_file()
