"""No value in a document from outside ends a command with a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from m2a_core.data.own.opening import open_own
from m2a_core.geometry.calibration_file import read_calibration
from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.annotated import annotated_sources
from m2a_core.training.config import load_config
from m2a_ros.bag.reader import Bag
from m2a_ros.harvest.results import replayed_bags
from m2a_ros.parameters.file import read_parameters, settings_of
from m2a_ros.parameters.launch_support import cameras_of_parameters
from m2a_ros.review.replayed import load_replay
from test.core.odd_values import unnamed
from test.replay.bags import drive
from test.review.test_compare import scores, write_replay

OBJECTS = {
    "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}],
    "categories": [{"id": 3, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0, "segmentation": [[0, 0, 4, 0, 4, 4]]},
        {"id": 2, "image_id": 1, "category_id": 3, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [40, 8]}},
    ],
}


def as_yaml(document: Any) -> str:
    try:
        return yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    except UnicodeEncodeError:  # LibYAML writes no half of a character.
        return yaml.safe_dump(document)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True)
    assert cv2.imwrite(str(path), np.zeros((6, 8, 3), np.uint8))


def test_annotations_to_train_on(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "default" / "a.png")
    path = tmp_path / "annotations" / "instances_default.json"
    path.parent.mkdir()
    assert not unnamed(
        OBJECTS,
        lambda odd: path.write_text(json.dumps(odd)),
        lambda: [source.read() for source in annotated_sources(tmp_path, CAMVID11)],
    )


def test_own_data_in_coco(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "a.png")
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    (tmp_path / "classes.yaml").write_text("classes: [{name: car, id: 3, thing: true}]\n")
    assert not unnamed(
        OBJECTS,
        lambda odd: path.write_text(json.dumps(odd)),
        lambda: [frame.read() for frame in open_own(tmp_path, "coco").listing.frames],
    )


def test_a_camera_calibration(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    document = {
        "image_width": 640,
        "image_height": 480,
        "distortion_model": "plumb_bob",
        "camera_matrix": {"rows": 3, "cols": 3, "data": [500.0, 0, 320, 0, 500, 240, 0, 0, 1]},
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.0] * 5},
    }
    readable = yaml.safe_dump(document)
    path.write_text(readable)
    read_calibration(path)
    assert not unnamed(document, lambda odd: path.write_text(as_yaml(odd)), lambda: read_calibration(path))


def summary() -> dict[str, Any]:
    bag = {"name": "drive", "path": "drive.mcap", "fingerprint": "f", "topics": {"/image": "front"}}
    settings = {"mode": "offline", "thresholds": {}, "temporal": {}, "mountings": []}
    return {**settings, "bags": [bag], "model": {"name": "m", "onnx_sha256": "0" * 64}, "parameters": None}


def test_the_summary_of_a_replay_to_harvest(tmp_path: Path) -> None:
    (tmp_path / "drive" / "bag").mkdir(parents=True)
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary()))
    assert len(replayed_bags(tmp_path)) == 1
    assert not unnamed(
        summary(),
        lambda odd: path.write_text(json.dumps(odd)),
        lambda: [bag.identity for bag in replayed_bags(tmp_path)],
    )


def test_a_replay_to_compare(tmp_path: Path) -> None:
    folder = write_replay(tmp_path / "a", scores(1, 0.0)[:2])
    for name in ("summary.json", "truth_frames.jsonl"):
        path = folder / name
        whole = path.read_text()
        first, *rest = whole.splitlines()

        def write(odd: Any, path: Path = path, rest: tuple[str, ...] = tuple(rest)) -> None:
            path.write_text("\n".join([json.dumps(odd), *rest]))

        assert not unnamed(json.loads(first), write, lambda: load_replay(folder))
        path.write_text(whole)
    load_replay(folder)


@pytest.mark.slow
def test_the_metadata_of_a_bag(tmp_path: Path) -> None:
    path = drive(tmp_path / "bag", 1) / "metadata.yaml"
    with Bag(path.parent):
        document = yaml.safe_load(path.read_text())

    def read() -> None:
        with Bag(path.parent):
            pass

    assert not unnamed(document, lambda odd: path.write_text(as_yaml(odd)), read)


def test_a_parameter_file(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    camera = {"crop": True, "crop_center": 0.5}
    own = {"cameras": ["front"], "device": 0, "max_rate": 5.0, "trusted_keys": [""], "camera": {"front": camera}}

    def read() -> None:
        values = read_parameters(path)
        settings_of(values, cameras_of_parameters(path, values), str(path))

    document = {"/**": {"ros__parameters": own}}
    path.write_text(yaml.safe_dump(document))
    read()
    assert not unnamed(document, lambda odd: path.write_text(as_yaml(odd)), read)


@pytest.mark.slow
def test_a_training_configuration(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    document = yaml.safe_load((Path(__file__).parents[2] / "config" / "training" / "own.yaml").read_text())
    first, last = document["stages"]
    assert set(first) <= set(last)
    document["stages"] = [last]
    path.write_text(as_yaml(document))
    load_config(path)
    assert not unnamed(document, lambda odd: path.write_text(as_yaml(odd)), lambda: load_config(path))
