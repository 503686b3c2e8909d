"""Frames in which only some objects are annotated: the rest is void; in the layout that exports and CVAT write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from m2a_core.errors import ConfigError, DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.annotated import annotated_sources
from m2a_core.training.sources import open_sources
from m2a_core.training.targets import make_target
from test.training.synthetic import train_config

LABELS = replace(
    CAMVID11,
    name="mine",
    names=(*CAMVID11.names, "scooter"),
    colors=(*CAMVID11.colors, (1, 2, 3)),
    things=CAMVID11.things | {11},
)
SIZE = (48, 64)


def rle(rows: slice, columns: slice) -> dict[str, Any]:
    mask = np.zeros(SIZE, np.uint8)
    mask[rows, columns] = 1
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def write(root: Path, annotations: list[dict[str, Any]], images: str = "images/default") -> Path:
    """One picture, a.jpg, with the given annotations of the categories scooter (7) and road (2)."""
    (root / images).mkdir(parents=True)
    (root / "annotations").mkdir()
    cv2.imwrite(str(root / images / "a.jpg"), np.full((*SIZE, 3), 90, np.uint8))
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 48, "width": 64}],
        "categories": [{"id": 7, "name": "scooter"}, {"id": 2, "name": "road"}],
        "annotations": [{"id": i, "image_id": 5, "iscrowd": 0, **a} for i, a in enumerate(annotations, start=1)],
    }
    (root / "annotations" / "instances_default.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("images", ["images/default", "images", "data"])
def test_annotated_objects_have_their_class_and_all_else_is_void(tmp_path, images):
    polygon = [[40, 8, 48, 8, 48, 16, 40, 16]]
    root = write(
        tmp_path,
        [
            {"category_id": 7, "segmentation": rle(slice(10, 20), slice(4, 12))},
            {"category_id": 7, "segmentation": polygon},
            {"category_id": 2, "segmentation": rle(slice(40, 48), slice(0, 64))},
            {"category_id": 7, "segmentation": rle(slice(30, 34), slice(0, 4)), "iscrowd": 1},
        ],
        images,
    )
    (source,) = annotated_sources(root, LABELS)
    frame = source.read()
    assert frame.partial
    assert {int(v): int((frame.label == v).sum()) for v in np.unique(frame.label)} == {
        3: 8 * 64,
        11: 80 + 64 + 16,
        255: 48 * 64 - 8 * 64 - 160,
    }
    assert frame.instances is not None
    assert sorted(np.unique(frame.instances).tolist()) == [0, 1, 2]
    target = make_target(
        frame.label, np.zeros(SIZE, bool), LABELS, 20, 50, frame.partial, "instance", "ignore", frame.instances
    )
    assert sorted(target.classes.tolist()) == [3, 11, 11]
    assert target.partial


def test_a_class_that_is_not_trained_is_named(tmp_path):
    root = write(tmp_path, [{"category_id": 7, "segmentation": rle(slice(10, 20), slice(4, 12))}])
    with pytest.raises(ConfigError, match="'scooter' is not a class of camvid11; add it"):
        annotated_sources(root, CAMVID11)


def test_a_missing_image_or_one_outside_is_named(tmp_path):
    root = write(tmp_path / "set", [])
    (root / "images" / "default" / "a.jpg").rename(tmp_path / "b.jpg")
    with pytest.raises(DataError, match=r"its image a\.jpg is not below"):
        annotated_sources(root, LABELS)
    text = (root / "annotations" / "instances_default.json").read_text()
    (root / "annotations" / "instances_default.json").write_text(text.replace("a.jpg", "../../../b.jpg"))
    with pytest.raises(DataError, match="is no path below its folder"):
        annotated_sources(root, LABELS)
    (root / "images" / "default" / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (root / "annotations" / "instances_default.json").write_text(text)
    with pytest.raises(DataError, match="is not below"):
        annotated_sources(root, LABELS)


@pytest.mark.parametrize("content", ["{}", "[]", '{"images": 3, "annotations": [], "categories": []}'])
def test_another_json_is_named(tmp_path, content):
    root = write(tmp_path, [])
    (root / "annotations" / "instances_default.json").write_text(content)
    with pytest.raises(DataError, match=r"no COCO instances .*expected annotations/NAME\.json"):
        annotated_sources(root, LABELS)


def test_no_or_several_files_of_annotations_are_named(tmp_path):
    root = write(tmp_path, [])
    (root / "annotations" / "more.json").write_text("{}")
    with pytest.raises(DataError, match="2 files in annotations"):
        annotated_sources(root, LABELS)
    with pytest.raises(DataError, match="0 files in annotations"):
        annotated_sources(tmp_path / "nowhere", LABELS)


@pytest.mark.parametrize("segmentation", [None, [[1, 2]], {"size": [48, 64], "counts": "x"}])
def test_a_malformed_mask_names_its_annotation(tmp_path, segmentation):
    root = write(tmp_path, [{"category_id": 7, "segmentation": segmentation}])
    (source,) = annotated_sources(root, LABELS)
    with pytest.raises(DataError, match=r"instances_default\.json: annotation 1"):
        source.read()


def test_a_run_takes_them_as_often_as_it_says(data_root, tmp_path):
    write(tmp_path / "set", [{"category_id": 2, "segmentation": rle(slice(40, 48), slice(0, 64))}])
    plain = open_sources(train_config().data, data_root, CAMVID11)
    data = replace(train_config().data, annotated={str(tmp_path / "set"): 3})
    more = open_sources(data, data_root, CAMVID11)
    assert len(more.train) == len(plain.train) + 3
    assert [s.name for s in more.train[-3:]] == ["set/a"] * 3
    assert len(more.held) == len(plain.held)
    with pytest.raises(ConfigError, match="annotated: expected folder: 1 or more"):
        replace(data, annotated={"set": 0})
