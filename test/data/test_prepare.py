"""Writing the layouts that training reads, from data sets as they are distributed."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.data.list_camvid import list_frames
from m2a_core.data.pack_cityscapes import pack, packed_ids
from m2a_core.data.packed_cityscapes import packed_frames, read_ids
from m2a_core.errors import DataError

SHARED_CAMVID = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"


def write_cityscapes(root: Path, city: str, number: int, ids: np.ndarray) -> None:
    name = f"{city}_{number:06d}_000019"
    for folder, suffix, array in (
        ("leftImg8bit", "leftImg8bit", np.full((*ids.shape, 3), 10 * number, np.uint8)),
        ("gtFine", "gtFine_labelIds", np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)),
        ("gtFine", "gtFine_instanceIds", ids),
    ):
        path = root / folder / "train" / city / f"{name}_{suffix}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array)


def test_ids_become_train_classes_with_instances_from_one():
    stored = np.array([[7, 26, 26000, 26001, 24005, 4, 0, 33012, 29000]], np.uint16)
    # road, a group of cars, two cars, a person, void twice, a bicycle, a caravan
    assert packed_ids(stored).tolist() == [[0, 13000, 13001, 13002, 11006, 65535, 65535, 18013, 65535]]


def test_packing_writes_what_the_reader_reads(tmp_path):
    ids = np.full((8, 16), 7, np.uint16)
    ids[:4] = 23
    ids[2:6, 4:8] = 26000
    for city, number in (("aachen", 0), ("aachen", 1), ("aachen", 2), ("ulm", 3)):
        write_cityscapes(tmp_path / "cs", city, number, ids)
    assert pack(tmp_path / "cs", tmp_path / "out", (8, 8), 2, ("ulm",)) == 3
    assert packed_frames(tmp_path / "out", "train") == [
        ("aachen_000000_000019", "aachen"),
        ("aachen_000002_000019", "aachen"),
    ]
    ((name, city),) = packed_frames(tmp_path / "out", "val")
    assert city == "ulm"
    classes, instances = read_ids(tmp_path / "out" / "ids" / "val" / f"{name}.png")
    assert np.array_equal(classes, np.where(ids == 7, 0, np.where(ids == 23, 10, 13))[:, ::2])
    assert np.array_equal(instances > 0, (ids == 26000)[:, ::2])
    image = cv2.imread(str(tmp_path / "out" / "images" / "val" / f"{name}.jpg"))
    assert image.shape == (8, 8, 3)
    assert abs(int(image.mean()) - 30) <= 1


def test_camvid_is_listed_by_drive_and_number(tmp_path):
    names = {"train": ["0001TP_006720", "0001TP_006690"], "test": ["Seq05VD_f00030", "0001TP_008550"]}
    for split, files in names.items():
        (tmp_path / "images" / split).mkdir(parents=True)
        for name in files:
            (tmp_path / "images" / split / f"{name}.jpg").write_bytes(b"x")
    rows = list_frames(tmp_path)
    assert [(row["split"], row["name"]) for row in rows] == [
        ("train", "0001TP_006690"),
        ("train", "0001TP_006720"),
        ("test", "0001TP_008550"),
        ("test", "Seq05VD_f00030"),
    ]
    assert rows[-1]["sequence"] == "Seq05VD"


def test_the_list_of_the_real_frames_is_the_one_that_ships_with_them():
    if not (SHARED_CAMVID / "frames.csv").is_file():
        pytest.skip(f"no CamVid in {SHARED_CAMVID}")
    with (SHARED_CAMVID / "frames.csv").open(newline="", encoding="utf-8") as file:
        given = [(row["sequence"], row["split"], row["name"]) for row in csv.DictReader(file)]
    assert sorted(given) == sorted((row["sequence"], row["split"], row["name"]) for row in list_frames(SHARED_CAMVID))


def test_a_folder_without_frames_or_with_others_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images in train, val or test"):
        list_frames(tmp_path)
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "images" / "train" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"holiday\.jpg: expected a name as CamVid's"):
        list_frames(tmp_path)
