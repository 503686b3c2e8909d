"""Writing the layouts that training reads, from data sets as they are distributed."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.data.list_camvid import list_frames
from m2a_core.data.list_cutouts import list_cutouts
from m2a_core.data.list_cutouts import main as list_cutouts_main
from m2a_core.data.pack_cityscapes import pack, packed_ids
from m2a_core.data.pack_idd_lite import pack as pack_idd_lite
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


def test_cut_outs_are_listed_by_kind_and_the_reader_takes_the_list(tmp_path, monkeypatch, capsys):
    from m2a_core.training.datasets import read_cutouts

    (tmp_path / "train").mkdir()
    for name in ("animals__birds__owl", "canoe"):
        assert cv2.imwrite(str(tmp_path / "train" / f"{name}.png"), np.full((4, 6, 4), 255, np.uint8))
    monkeypatch.setattr("sys.argv", ["list_cutouts", "--root", str(tmp_path)])
    list_cutouts_main()
    assert "2 cut-outs" in capsys.readouterr().out
    assert [(c.name, c.kind, c.photo) for c in read_cutouts(tmp_path)] == [
        ("animals__birds__owl", "animals/birds", True),
        ("canoe", "canoe", True),
    ]


def test_cut_outs_that_show_nothing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="no PNG files"):
        list_cutouts(tmp_path)
    (tmp_path / "train").mkdir()
    assert cv2.imwrite(str(tmp_path / "train" / "ghost.png"), np.zeros((4, 6, 4), np.uint8))
    with pytest.raises(DataError, match=r"ghost\.png: every pixel is transparent"):
        list_cutouts(tmp_path)


def test_idd_lite_is_packed_as_training_reads_it(tmp_path):
    from m2a_core.training.idd_lite import idd_lite_sources

    source, out = tmp_path / "idd20k_lite", tmp_path / "out"
    for folder, file, array in (
        ("leftImg8bit/train/7", "000123_image.jpg", np.full((227, 320, 3), 90, np.uint8)),
        ("gtFine/train/7", "000123_label.png", np.full((227, 320), 6, np.uint8)),
    ):
        (source / folder).mkdir(parents=True)
        assert cv2.imwrite(str(source / folder / file), array)
    assert pack_idd_lite(source, out) == 1
    (frame,) = idd_lite_sources(out)
    read = frame.read()
    assert (read.name, read.sequence) == ("7_000123", "7")
    assert (read.label == 10).all()  # sky
    (source / "gtFine/train/7/000123_label.png").unlink()
    with pytest.raises(DataError, match=r"000123_label\.png is missing"):
        pack_idd_lite(source, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_camvid_is_read_in_the_format_that_it_is_distributed_in(tmp_path):
    from m2a_core.training.datasets import load_camvid_frame

    for folder, array in (("images", np.full((6, 8, 3), 70, np.uint8)), ("labels", np.full((6, 8), 3, np.uint8))):
        (tmp_path / folder / "train").mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / folder / "train" / "0001TP_006690.png"), array)
    frame = load_camvid_frame(tmp_path, "train", "0001TP_006690", "0001TP")
    assert (frame.image == 70).all()
    with pytest.raises(DataError, match=r"0001TP_1\.jpg"):
        load_camvid_frame(tmp_path, "train", "0001TP_1", "0001TP")
