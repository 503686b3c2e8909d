"""Every benchmark in a tiny tree of its distributed layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.data.catalog import DATASETS, open_dataset
from m2a_core.errors import ConfigError, DataError
from m2a_core.images import read_image

Tree = Callable[[Path], None]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 6, 3), 90, np.uint8))


def mask(path: Path, values: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.array([values], np.uint8))


def road_anomaly(root: Path) -> None:
    picture(root / "frames/animals01_x.jpg")
    mask(root / "frames/animals01_x.labels/labels_semantic.png", [0, 1, 2, 255])


def lost_and_found(root: Path) -> None:
    picture(root / "leftImg8bit/test/02_Street_44/02_Street_44_000000_000020_leftImg8bit.png")
    mask(root / "gtCoarse/test/02_Street_44/02_Street_44_000000_000020_gtCoarse_labelIds.png", [0, 1, 2, 34])


def fishyscapes_laf(root: Path) -> None:
    picture(root / "leftImg8bit/train/04_Maurener_Weg_8/04_Maurener_Weg_8_000000_000030_leftImg8bit.png")
    mask(root / "fishyscapes_lostandfound/0000_04_Maurener_Weg_8_000000_000030_labels.png", [0, 1, 255, 0])


def original_labels(root: Path) -> None:
    picture(root / "original/0000.png")
    mask(root / "labels/0000.png", [0, 1, 255, 0])


def fishyscapes_static(root: Path) -> None:
    name = "frankfurt_000000_000294"
    picture(root / f"leftImg8bit/val/frankfurt/{name}_leftImg8bit.png")
    mask(root / f"fs_val_v3/0007_{name}_labels.png", [0, 1, 255, 0])
    for version, value in ((2, 1), (3, 7)):
        overlay = root / f"fs_val_v{version}/0007_{name}_rgb.npz"
        overlay.parent.mkdir(parents=True, exist_ok=True)
        np.savez(overlay, rgb=np.full((4, 6, 3), (-300, 0, value), np.int16))


def smiyc_anomaly(root: Path) -> None:
    picture(root / "images/validation0000.jpg")
    picture(root / "images/bear0000.jpg")
    mask(root / "labels_masks/validation0000_labels_semantic.png", [0, 1, 255, 0])


def smiyc_obstacle(root: Path) -> None:
    for name in ("validation_1", "validation_19", "greyasphalt_bag_3"):
        picture(root / f"images/{name}.webp")
    mask(root / "labels_masks/validation_1_labels_semantic.png", [0, 1, 255, 0])


def folder(root: Path) -> None:
    picture(root / "images/a.jpg")
    mask(root / "masks/a_mask.png", [0, 1, 255, 0])


def streethazards(root: Path) -> None:
    for town in ("t5", "t6"):
        picture(root / f"test/images/test/{town}/300.png")
        mask(root / f"test/annotations/test/{town}/300.png", [1, 2, 13, 14])


def cityscapes(root: Path) -> None:
    picture(root / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png")
    mask(root / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png", [7, 33, 4, 26])


def camvid(root: Path) -> None:
    picture(root / "test/0001TP_008550.png")
    mask(root / "testannot/0001TP_008550.png", [0, 3, 10, 11])


def camvid_by_kind(root: Path) -> None:
    picture(root / "images/test/0001TP_008550.jpg")
    mask(root / "labels/test/0001TP_008550.png", [0, 3, 10, 11])


def coco(root: Path) -> None:
    picture(root / "val2017/000000000139.jpg")
    png = root / "annotations/panoptic_val2017/000000000139.png"
    png.parent.mkdir(parents=True)
    ids = np.array([[0, 7, 300, 70000]])
    assert cv2.imwrite(str(png), np.stack([ids >> 16, (ids >> 8) & 255, ids & 255], -1).astype(np.uint8))
    info = [(7, 1, 0), (300, 3, 0), (70000, 2, 1)]
    content = {
        "images": [{"id": 139, "file_name": "000000000139.jpg"}],
        "categories": [{"id": i, "name": n} for i, n in ((1, "person"), (2, "sky-other-merged"), (3, "car"))],
        "annotations": [
            {
                "image_id": 139,
                "file_name": "000000000139.png",
                "segments_info": [{"id": i, "category_id": c, "iscrowd": w} for i, c, w in info],
            }
        ],
    }
    (root / "annotations/panoptic_val2017.json").write_text(json.dumps(content))


ANOMALY: dict[str, tuple[Tree, list[int]]] = {
    "road_anomaly": (road_anomaly, [0, 0, 1, 255]),
    "lost_and_found": (lost_and_found, [255, 0, 1, 1]),
    "fishyscapes_laf": (fishyscapes_laf, [0, 1, 255, 0]),
    "fishyscapes_static": (fishyscapes_static, [0, 1, 255, 0]),
    "smiyc_anomaly": (smiyc_anomaly, [0, 1, 255, 0]),
    "smiyc_obstacle": (smiyc_obstacle, [0, 1, 255, 0]),
    "folder": (folder, [0, 1, 255, 0]),
    "streethazards": (streethazards, [0, 0, 0, 1]),
}

CLASSES: dict[str, tuple[Tree, list[str | None]]] = {
    "streethazards": (streethazards, [None, "building", "traffic sign", None]),
    "cityscapes": (cityscapes, ["road", "bicycle", None, "car"]),
    "camvid": (camvid, ["sky", "road", "bicyclist", None]),
}


@pytest.mark.parametrize("name", ANOMALY)
def test_labels_become_known_anomaly_void(name: str, tmp_path: Path) -> None:
    tree, expected = ANOMALY[name]
    tree(tmp_path)
    dataset = open_dataset(name, tmp_path)
    assert dataset.samples
    for sample in dataset.samples:
        assert sample.image.is_file()
        assert dataset.anomaly_truth(sample).tolist() == [expected]


@pytest.mark.parametrize("name", CLASSES)
def test_labels_become_the_models_classes(name: str, tmp_path: Path) -> None:
    tree, expected = CLASSES[name]
    tree(tmp_path)
    dataset = open_dataset(name, tmp_path)
    names = [n for n in expected if n]
    ids = {n: 100 + i for i, n in enumerate(names)}
    truth = dataset.class_truth(dataset.samples[0], ids)
    assert truth.tolist() == [[255 if n is None else ids[n] for n in expected]]


def test_classes_a_model_lacks_are_void(tmp_path: Path) -> None:
    camvid(tmp_path)
    dataset = open_dataset("camvid", tmp_path)
    assert dataset.class_truth(dataset.samples[0], {"road": 4}).tolist() == [[255, 4, 255, 255]]


def test_camvid_is_also_read_by_kind_of_file(tmp_path: Path) -> None:
    camvid_by_kind(tmp_path)
    assert [s.name for s in open_dataset("camvid", tmp_path).samples] == ["0001TP_008550"]


def test_streethazards_keeps_its_towns_apart(tmp_path: Path) -> None:
    streethazards(tmp_path)
    assert [(s.name, s.group) for s in open_dataset("streethazards", tmp_path).samples] == [
        ("t5_300", "t5"),
        ("t6_300", "t6"),
    ]


def test_coco_segments_and_unknown_classes(tmp_path: Path) -> None:
    coco(tmp_path)
    dataset = open_dataset("coco_panoptic_k5", tmp_path)
    assert dataset.unknown == {"car", "cow", "pizza", "toilet"}
    assert len(open_dataset("coco_panoptic_k20", tmp_path).unknown) == 16
    assert dataset.panoptic is not None
    truth = dataset.panoptic(dataset.samples[0])
    assert truth.ids.tolist() == [[0, 7, 300, 70000]]
    assert [(s.id, s.class_name, s.crowd) for s in truth.segments] == [
        (7, "person", False),
        (300, "car", False),
        (70000, "sky-other-merged", True),
    ]


def test_smiyc_scores_only_the_frames_of_the_benchmarks_validation(tmp_path: Path) -> None:
    smiyc_obstacle(tmp_path)
    assert [s.name for s in open_dataset("smiyc_obstacle", tmp_path).samples] == ["validation_1"]


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_root_is_answered_with_the_expected_layout(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ROOT/"):
        open_dataset(name, tmp_path)


@pytest.mark.parametrize("name", [n for n in ANOMALY if not n.startswith("fishyscapes")])
def test_a_missing_label_file_is_named(name: str, tmp_path: Path) -> None:
    ANOMALY[name][0](tmp_path)
    sample = open_dataset(name, tmp_path).samples[-1]
    assert sample.labels is not None
    sample.labels.unlink()
    with pytest.raises(DataError, match=r"1 of 1 images have no labels.*half-finished"):
        open_dataset(name, tmp_path)


def test_a_missing_image_of_fishyscapes_is_named(tmp_path: Path) -> None:
    fishyscapes_laf(tmp_path)
    next((tmp_path / "leftImg8bit").rglob("*.png")).unlink()
    with pytest.raises(DataError, match="000030_labels.png has no image"):
        open_dataset("fishyscapes_laf", tmp_path)


def test_objects_of_fishyscapes_static_are_added_to_the_cityscapes_image(tmp_path: Path) -> None:
    fishyscapes_static(tmp_path)
    (sample,) = open_dataset("fishyscapes_static", tmp_path).samples
    expected = np.minimum(read_image(sample.image).astype(int) + (0, 0, 7), 255)
    expected[..., 0] = 0
    assert (sample.picture() == expected).all()
    np.savez(tmp_path / "fs_val_v3/0007_frankfurt_000000_000294_rgb.npz", rgb=np.zeros((2, 2, 3)))
    with pytest.raises(DataError, match=r"overlay is float64 \[2, 2, 3\], its image .* is \[4, 6, 3\]"):
        sample.picture()


def test_an_incomplete_fishyscapes_static_names_what_is_missing(tmp_path: Path) -> None:
    fishyscapes_static(tmp_path)
    (tmp_path / "fs_val_v3/0007_frankfurt_000000_000294_rgb.npz").unlink()
    with pytest.raises(DataError, match=r"has no 0007_\*rgb.npz beside it; expected layout"):
        open_dataset("fishyscapes_static", tmp_path)


@pytest.mark.parametrize("name", ["fishyscapes_static", "fishyscapes_laf"])
def test_fishyscapes_as_repacked_by_others(name: str, tmp_path: Path) -> None:
    original_labels(tmp_path)
    dataset = open_dataset(name, tmp_path)
    assert dataset.anomaly_truth(dataset.samples[0]).tolist() == [[0, 1, 255, 0]]


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'kitti'.*road_anomaly"):
        open_dataset("kitti", tmp_path)


LABELLED = {
    **{name: tree for name, (tree, _) in ANOMALY.items()},
    **{name: tree for name, (tree, _) in CLASSES.items()},
}
OUTSIDE = {"road_anomaly": 3, "lost_and_found": 201, "streethazards": 15, "cityscapes": 34, "camvid": 12}


@pytest.mark.parametrize("name", LABELLED)
def test_a_value_that_the_data_set_does_not_have_is_refused(name: str, tmp_path: Path) -> None:
    LABELLED[name](tmp_path)
    value = OUTSIDE.get(name, 2)
    dataset = open_dataset(name, tmp_path)
    sample = dataset.samples[0]
    assert sample.labels is not None
    mask(sample.labels, [0, value, value, 1])
    read = dataset.anomaly_truth if dataset.anomaly else lambda s: dataset.class_truth(s, {"road": 3})
    with pytest.raises(DataError, match=rf"{sample.labels.name}: label values outside the map: {value} \(2 pixels\)"):
        read(sample)


@pytest.mark.parametrize("name", ["folder", "road_anomaly", "camvid", "fishyscapes_laf"])
def test_endings_of_labels_may_be_in_upper_case(name: str, tmp_path: Path) -> None:
    LABELLED[name](tmp_path)
    (sample,) = open_dataset(name, tmp_path).samples
    assert sample.labels is not None
    sample.labels.rename(sample.labels.with_suffix(".PNG"))
    (again,) = open_dataset(name, tmp_path).samples
    assert again.labels == sample.labels.with_suffix(".PNG")


@pytest.mark.parametrize("name", sorted({*ANOMALY, *CLASSES, "coco_panoptic"}))
def test_the_hidden_files_that_macos_leaves_are_no_frames(name: str, tmp_path: Path) -> None:
    tree = {**{n: t for n, (t, _) in (*ANOMALY.items(), *CLASSES.items())}, "coco_panoptic": coco}[name]
    tree(tmp_path)
    before = open_dataset(name, tmp_path).samples
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7 of macOS")
    assert open_dataset(name, tmp_path).samples == before


@pytest.mark.parametrize("name", ["folder", "camvid", "road_anomaly"])
def test_two_pictures_of_one_name_are_refused(name: str, tmp_path: Path) -> None:
    LABELLED[name](tmp_path)
    (sample,) = open_dataset(name, tmp_path).samples
    picture(sample.image.with_suffix(".bmp"))
    with pytest.raises(DataError, match=r"are both frame '.*'; keep one"):
        open_dataset(name, tmp_path)


def test_two_masks_of_one_frame_are_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    mask(tmp_path / "masks/a.png", [0, 0, 0, 0])
    with pytest.raises(DataError, match=r"frame 'a' has 2 files \(a\.png, a_mask\.png\)"):
        open_dataset("folder", tmp_path)
