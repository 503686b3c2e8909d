"""Where own data may lie: folders of splits by their names, links, hidden and other files beside the frames."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m2a_core.data.own.opening import open_own
from m2a_core.errors import DataError
from test.data.drawn_frames import (
    EXPECTED,
    IDS,
    NUMBERS,
    WRITERS,
    coco_content,
    complaint,
    drawn,
    opened,
    write,
    write_image,
    write_mask,
)

OTHER_JSON: dict[str, Any] = {
    "annotations/captions_train2017.json": {"images": [], "annotations": [{"id": 1, "caption": "a"}]},
    "annotations/captions_val2017.json": {"images": [], "annotations": []},
    "annotations/person_keypoints_train2017.json": coco_content(["a_001.png"]),
    "annotations/image_info_test2017.json": {"images": [], "categories": []},
    "own.json": {"dataset": "own", "miou": 0.5},
    "results.json": [{"image_id": 1}],
}


@pytest.mark.parametrize("name", ["folder", "coco instances", "cvat", "yolo"])
def test_frames_whose_folders_and_names_join_to_one_name_have_names_of_their_own(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    (old,) = (frame.image for frame in open_own(root, kind).split("train"))
    for new in ("cam/front_001.png", "cam_front/001.png"):
        for folder in [p for p in (root / "images/train", root / "train2017", root / "train/images") if p.is_dir()]:
            (folder / new).parent.mkdir()
            shutil.copy(old, folder / new)
        if name == "folder":
            write_mask(root / "masks/train" / new, drawn(IDS, 255).astype(np.uint8))
    content = coco_content(["cam/front_001.png", "cam_front/001.png"])
    if name == "coco instances":
        (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    images = "".join(f'<image name="train/{n}"/>' for n in ("cam/front_001.png", "cam_front/001.png"))
    if name == "cvat":
        (root / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    frames = [frame for frame in opened(root, kind).split("train") if "front" in frame.name]
    assert len(frames) == len({frame.name for frame in frames}) == 2
    assert len({frame.image for frame in frames}) == 2
    assert sum("have the name of another" in note for note in open_own(root, kind).listing.notes) == 1


def test_folders_that_are_links_are_read_and_circles_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    for part in ("images", "masks", "instances"):
        (root / part / "train" / "drive").rename(tmp_path / f"elsewhere {part}")
        (root / part / "train" / "drive").symlink_to(tmp_path / f"elsewhere {part}")
        (root / part / "train" / "again").symlink_to(root / part / "train")
    (frame,) = opened(root, kind).split("train")
    truth = frame.read()[1]
    np.testing.assert_array_equal(truth.label, EXPECTED)
    assert truth.instances is not None


def test_a_link_to_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    image = root / "images/train/drive/a.001.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "absent.jpg")
    assert str(image) in complaint(root, kind)


@pytest.mark.parametrize("masks", ["same name", "val"])
@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
def test_folders_of_a_split_may_have_its_other_names(tmp_path: Path, name: str, masks: str) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    for part in ("images", "instances", *(["masks"] if masks == "same name" else [])):
        (root / part / "val").rename(root / part / name)
    dataset = opened(root, kind)
    (frame,) = dataset.split("val")
    assert dataset.listing.notes == []
    truth = frame.read()[1]
    np.testing.assert_array_equal(truth.label, EXPECTED)
    assert truth.instances is not None


@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
@pytest.mark.parametrize("kind", ["cvat", "yolo"])
def test_folders_of_a_split_have_other_names_in_other_formats_too(tmp_path: Path, kind: str, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, kind)
    if kind == "cvat":
        (root / name).mkdir()
        (root / "images").rename(root / name / "images")
        (root / "annotations.xml").write_text(
            '<annotations><image name="train/a_001.png"/><image name="val/a_001.png"/></annotations>'
        )
        (root / "annotations.xml").rename(root / name / "annotations.xml")
        assert len(opened(root, kind).split("val")) == 2
    else:
        (root / "valid").rename(root / name)
        assert len(opened(root, kind).split("val")) == 1


@pytest.mark.parametrize("kind", ["folder", "yolo"])
def test_images_of_no_split_are_noted(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    kind = write(root, kind)
    write_image(root / "images" / "extra" / "b.jpg")
    write_image(root / "images" / "c.jpg")
    (note,) = [note for note in opened(root, kind).listing.notes if "no folder of a split" in note]
    assert "images: 2 images are in no folder of a split (train, val, test) and are skipped, such as" in note
    assert note.endswith("images/c.jpg")


def test_masks_of_a_split_without_images_are_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    shutil.copytree(root / "masks" / "val", root / "masks" / "test")
    (problem,) = open_own(root, kind).listing.problems
    assert "masks/test/drive/a.001.png: a mask without its image" in problem


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".bmp"])
def test_numbers_of_things_may_have_every_ending_of_masks(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    old = root / "instances/train/drive/a.001.png"
    write_mask(old.with_suffix(suffix), NUMBERS.astype(np.uint8))
    old.unlink()
    truth = opened(root, kind).split("train")[0].read()[1]
    assert truth.instances is not None
    assert set(np.unique(truth.instances).tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((".png", ".tif"), "a.001.png and a.001.tif: two instance maps of a.001.jpg; keep one"),
        ((".jpg",), "a.001.jpg: the instance map is a JPEG, which changes ids"),
        ((".webp",), "a.001.webp: cannot be the instance map of a.001.jpg; save the ids as PNG"),
    ],
)
def test_numbers_of_things_that_cannot_be_read_are_named(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    root = tmp_path / "root"
    kind = write(root, "folder")
    old = root / "instances/train/drive/a.001.png"
    old.unlink()
    for suffix in files:
        write_mask(old.with_suffix(suffix), NUMBERS.astype(np.uint8))
    (problem,) = open_own(root, kind).listing.problems
    assert said in problem


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic"])
def test_other_json_beside_the_annotations_is_noted_and_skipped(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    for file, content in OTHER_JSON.items():
        (root / file).write_text(json.dumps(content))
    dataset = opened(root, kind)
    assert [frame.split for frame in dataset.listing.frames] == ["train", "val"]
    for frame in dataset.listing.frames:
        np.testing.assert_array_equal(frame.read()[1].label, EXPECTED)
    for file in OTHER_JSON:
        assert sum(str(root / file) in note for note in dataset.listing.notes) == 1, file


def test_annotations_may_have_any_name_but_must_be_whole(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "coco instances")
    for split in ("train", "val"):
        (root / f"annotations/instances_{split}2017.json").rename(root / f"{split}.json")
    assert len(opened(root, kind).listing.frames) == 2
    shutil.copy(root / "train.json", root / "training.json")
    with pytest.raises(DataError, match=r"train.json and training.json: two annotations of the split 'train'"):
        open_own(root, kind)
    (root / "training.json").unlink()
    content = json.loads((root / "train.json").read_text())
    del content["categories"]
    (root / "train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train.json: expected COCO annotations with lists"):
        open_own(root, kind)


@pytest.mark.parametrize("name", ["coco instances", "coco panoptic"])
@pytest.mark.parametrize("below", ["images/Validation", "validation", "images/valid"])
def test_images_lie_in_folders_of_other_names_of_their_split(tmp_path: Path, name: str, below: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    image = next(path for path in root.rglob("a_001.png") if path.parent.name in ("val", "val2017"))
    (root / below).mkdir(parents=True)
    # The same name as a frame of train: only the folder tells them apart.
    wanted = image.rename(root / below / "a_001.png")
    assert [frame.image for frame in opened(root, kind).split("val")] == [wanted]


def test_cvat_images_of_one_name_in_two_subsets_are_two_frames(tmp_path: Path) -> None:
    root = tmp_path / "root"
    kind = write(root, "cvat")
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_text(text.replace('name="train/', 'name="').replace('name="val/', 'name="'))
    frames = opened(root, kind).listing.frames
    assert [(frame.split, frame.image) for frame in frames] == [
        (split, root / "images" / split / "a_001.png") for split in ("train", "val")
    ]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_the_hidden_files_that_macos_leaves_are_no_frames(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    kind = write(root, name)
    before = opened(root, kind).listing.frames
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\xff of macOS")
    again = opened(root, kind).listing.frames
    assert [(frame.name, frame.image) for frame in again] == [(frame.name, frame.image) for frame in before]
    for frame, whole in zip(again, before, strict=True):
        np.testing.assert_array_equal(frame.read()[1].label, whole.read()[1].label)


def test_the_name_of_the_root_says_nothing_of_the_split(tmp_path: Path) -> None:
    root = tmp_path / "latest"
    kind = write(root, "coco instances")
    next((root / "annotations").glob("*_train*.json")).rename(root / "labels.json")
    shutil.rmtree(root / "annotations")
    (root / "train2017" / "a_001.png").rename(root / "a_001.png")
    (frame,) = open_own(root, kind).listing.frames
    assert frame.split == "all"
