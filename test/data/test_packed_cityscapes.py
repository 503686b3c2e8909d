"""Packed Cityscapes as a benchmark: true aspect, classes, segments; and data with coarser classes than a model's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.data.base import Dataset, Sample
from m2a_core.data.catalog import open_dataset
from m2a_core.data.classes import CAMVID_OF
from m2a_core.errors import DataError
from m2a_core.evaluation.classes import panoptic_figures, semantic_figures
from m2a_core.evaluation.predict import Outputs
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19, STREETHAZARDS12
from m2a_core.types import PANOPTIC_DIVISOR, PANOPTIC_VOID

SKY, ROAD, CAR = 10, 0, 13


def write(root: Path) -> np.ndarray:
    """One frame of 8x8, stored stretched: sky, road, two cars, a group of cars, void."""
    ids = np.full((8, 8), SKY * 1000, np.uint16)
    ids[4:] = ROAD
    ids[4:6, :2], ids[4:6, 2:4], ids[4:6, 6:] = CAR * 1000 + 1, CAR * 1000 + 2, CAR * 1000
    ids[7] = 65535
    for folder in ("images/val", "ids/val"):
        (root / folder).mkdir(parents=True)
    cv2.imwrite(str(root / "images/val/ulm_1.jpg"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(root / "ids/val/ulm_1.png"), ids)
    (root / "frames.csv").write_text("split,city,name\nval,ulm,ulm_1\ntrain,bonn,bonn_1\n", encoding="utf-8")
    return ids


def predict(outputs: Outputs, sample: Sample, **maps: np.ndarray) -> None:
    path = outputs.prediction(sample)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **maps)


def test_picture_classes_and_segments_have_the_true_aspect(tmp_path):
    stored = write(tmp_path)
    dataset = open_dataset("cityscapes_640", tmp_path)
    (sample,) = dataset.samples
    assert sample.picture().shape == (8, 16, 3)
    view = dataset.view(CITYSCAPES19)
    assert view is not None
    truth = dataset.class_truth(sample, view.ids)
    assert np.array_equal(truth[:, ::2], np.where(stored == 65535, 255, stored // 1000))
    assert np.array_equal(truth[:, ::2], truth[:, 1::2])
    assert dataset.panoptic is not None
    panoptic = dataset.panoptic(sample)
    assert panoptic.ids.shape == (8, 16)
    found = {(s.class_name, s.crowd, int((panoptic.ids == s.id).sum())) for s in panoptic.segments}
    assert found == {("sky", False, 64), ("road", False, 24), ("car", False, 8), ("car", True, 8)}
    assert len(panoptic.segments) == 5
    assert (panoptic.ids[7] == 0).all()


def test_a_perfect_prediction_has_iou_and_pq_of_one(tmp_path):
    write(tmp_path)
    dataset, outputs = open_dataset("cityscapes_640", tmp_path), Outputs(tmp_path / "out")
    (sample,) = dataset.samples
    semantic = dataset.class_truth(sample, {name: i for i, name in enumerate(CITYSCAPES19.names)})
    instances = np.zeros((8, 16), np.int32)
    instances[4:6, :4], instances[4:6, 4:8] = 1, 2
    panoptic = np.where(semantic == 255, PANOPTIC_VOID, semantic.astype(np.int32) * PANOPTIC_DIVISOR + instances)
    predict(outputs, sample, anomaly=np.zeros((8, 16), np.float32), semantic=semantic, panoptic=panoptic)
    failed: dict[str, str] = {}
    figures = semantic_figures(dataset, CITYSCAPES19, outputs, failed)
    assert figures["miou"] == 1
    assert {k for k, v in figures["iou"].items() if v == 1} == {"sky", "road", "car"}
    assert panoptic_figures(dataset, CITYSCAPES19, outputs, failed)["panoptic"]["things"]["pq"] == 1
    assert failed == {}


def test_a_list_that_names_a_missing_file_is_refused_with_the_layout(tmp_path):
    write(tmp_path)
    (tmp_path / "ids/val/ulm_1.png").unlink()
    with pytest.raises(DataError, match=r"ulm_1\.png: is in the list and missing(.|\n)*ROOT/ids"):
        open_dataset("cityscapes_640", tmp_path)
    (tmp_path / "frames.csv").write_text("split,city,name\ntrain,bonn,bonn_1\n", encoding="utf-8")
    with pytest.raises(DataError, match="no frame of the split 'val'"):
        open_dataset("cityscapes_640", tmp_path)


def test_a_model_with_finer_classes_is_measured_in_those_of_camvid(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((1, 6, 3), np.uint8))
    names = ("road", "building", "car", "bicyclist", "tree")
    truth = [CAMVID11.names.index(name) for name in names]
    cv2.imwrite(str(tmp_path / "a_labels.png"), np.array([[*truth, 11]], np.uint8))
    sample = Sample("a", tmp_path / "a.png", tmp_path / "a_labels.png")
    classes = dict(enumerate(CAMVID11.names))
    dataset = Dataset("camvid", (sample,), classes=classes, void=frozenset({11}), coarse=CAMVID_OF)
    finer = [CITYSCAPES19.names.index(n) for n in ("road", "wall", "bus", "rider", "road", "train")]
    outputs = Outputs(tmp_path / "out")
    predict(outputs, sample, anomaly=np.zeros((1, 6), np.float32), semantic=np.array([finer], np.uint8))
    figures = semantic_figures(dataset, CITYSCAPES19, outputs, {})
    assert list(figures["iou"]) == list(CAMVID11.names)
    measured = {name: figures["iou"][name] for name in names}
    assert measured == {"road": 0.5, "building": 1, "car": 1, "bicyclist": 1, "tree": 0}
    assert figures["miou"] == pytest.approx(3.5 / 5)


def test_every_class_of_cityscapes_has_one_of_camvid():
    assert set(CAMVID_OF) == set(CITYSCAPES19.names)
    assert set(CAMVID_OF.values()) == set(CAMVID11.names)


def test_a_model_of_other_classes_is_measured_in_none(tmp_path):
    dataset = Dataset("camvid", (), classes=dict(enumerate(CAMVID11.names)), coarse=CAMVID_OF)
    assert dataset.view(STREETHAZARDS12) is None
    same = dataset.view(CAMVID11)
    assert same is not None
    assert same.names == CAMVID11.names
    assert np.array_equal(same.table, np.arange(256))
