"""From the names given in a harvest's gallery to trained weights: all three kinds of data in one run."""

from __future__ import annotations

import json

import pytest
import yaml

from m2a_ros.main import main
from test.harvest.sightings import make_harvest, sighting

pytestmark = pytest.mark.usefixtures("tiny_in_zoo")


def test_outliers_hard_negatives_and_new_classes_of_a_harvest_are_trained_in_one_run(data_root, tmp_path, capsys):
    records = [sighting(0, cluster=0), sighting(1, cluster=1), sighting(2, cluster=2, frame="frames/a.jpg")]
    harvest = make_harvest(tmp_path / "harvest", records)
    clusters = {
        "0": {"name": "pallet", "kind": "outlier"}, "1": {"name": "road paint", "kind": "false_alarm"},
        "2": {"name": "bicyclist", "kind": "class"},
    }  # fmt: skip
    choices = {"format": 1, "harvest": harvest.hash, "clusters": clusters, "objects": {}}
    (harvest.folder / "choices.json").write_text(json.dumps(choices))
    harvested = tmp_path / "harvested"
    assert main(["harvest", "export", str(harvest.folder), "--out", str(harvested)]) == 0

    config = yaml.safe_load((data_root / "config" / "train.yaml").read_text())
    config["stages"] = config["stages"][1:]
    config["stages"][0]["iterations"] = 2
    data = config["data"]
    data["validation_kinds"] = str(data_root / "config" / "kinds.yaml")
    data["outliers"] = {"more_roots": [str(harvested / "outliers")], "favour": {"pallet": 20}}
    data["hard_negatives"] = {
        "roots": [str(harvested / "hard_negatives")], "prob": 0.5, "classes": {"road paint": "road"},
    }  # fmt: skip
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
