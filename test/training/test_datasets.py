"""Reading CamVid and cut-outs: splits, void, and bad files that are named."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.training.datasets import load_camvid_frame, load_cutouts
from m2a_core.training.targets import IGNORE
from test.training.synthetic import VOID, draw_frame, load_camvid, write_camvid, write_outliers, write_rows

NAME = "A_00000"


@pytest.fixture
def camvid(tmp_path):
    write_camvid(tmp_path, {("train", "A"): 4, ("train", "B"): 3, ("val", "C"): 5, ("test", "D"): 2})
    return tmp_path


@pytest.fixture
def outliers(tmp_path):
    write_outliers(tmp_path, {"ball": (250, 0, 0), "box": (0, 0, 250), "fish": (0, 250, 0)})
    (tmp_path / "kinds.yaml").write_text("kinds: [fish]\n", encoding="utf-8")
    return tmp_path


def test_void_11_becomes_ignore_and_other_ids_stay(camvid):
    frame = load_camvid_frame(camvid, "train", NAME, "A")
    _, stored = draw_frame(0)
    assert (frame.label[stored == VOID] == IGNORE).all()
    assert (stored == VOID).any()
    np.testing.assert_array_equal(frame.label[stored != VOID], stored[stored != VOID])


def test_images_are_rgb(camvid):
    frame = load_camvid_frame(camvid, "train", NAME, "A")
    image, _ = draw_frame(0)
    means = frame.image.reshape(-1, 3).mean(0), image.reshape(-1, 3).mean(0)
    np.testing.assert_allclose(*means, atol=3)
    assert abs(means[1][0] - means[1][2]) > 10


def test_the_end_of_each_training_sequence_is_held_apart(camvid):
    train, held = load_camvid(camvid, {"train": 1}, 0.34)
    assert [f.name for f in train] == ["A_00000", "A_00001", "A_00002", "B_00000", "B_00001"]
    assert [f.name for f in held] == ["A_00003", "B_00002"]


def test_strides_thin_training_frames_and_val_frames_are_all_trained_on(camvid):
    train, held = load_camvid(camvid, {"train": 2, "val": 2}, 0.34)
    assert [f.name for f in train] == ["A_00000", "A_00002", "B_00000", "C_00000", "C_00002", "C_00004"]
    assert [f.name for f in held] == ["A_00003", "B_00002"]


@pytest.mark.parametrize("splits", [{"test": 1}, {"train": 1, "test": 1}, {"Train": 1}])
def test_the_test_split_is_refused(camvid, splits):
    with pytest.raises(DataError, match="only train and val may be trained on"):
        load_camvid(camvid, splits, 0.2)


def test_a_truncated_jpeg_is_named(camvid):
    path = camvid / "images" / "train" / f"{NAME}.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=rf"{NAME}\.jpg.*cut short"):
        load_camvid_frame(camvid, "train", NAME, "A")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_garbage_in_place_of_a_picture_is_named(camvid, kind):
    path = next((camvid / kind / "train").glob(f"{NAME}.*"))
    path.write_bytes(b"no picture at all")
    with pytest.raises(DataError, match=path.name):
        load_camvid_frame(camvid, "train", NAME, "A")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_missing_picture_is_named(camvid, kind):
    path = next((camvid / kind / "train").glob(f"{NAME}.*"))
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        load_camvid(camvid, {"train": 1}, 0.2)


def write_label(camvid, label: np.ndarray) -> None:
    assert cv2.imwrite(str(camvid / "labels" / "train" / f"{NAME}.png"), label)


def test_a_label_id_outside_the_map_is_named(camvid):
    label = draw_frame(0)[1]
    label[5, 5] = 12
    write_label(camvid, label)
    with pytest.raises(
        DataError, match=rf"{NAME}\.png: label values outside the map: 12 \(1 pixels\); expected 0\.\.10 and 11"
    ):
        load_camvid_frame(camvid, "train", NAME, "A")


def test_a_16_bit_label_is_read_by_its_values(camvid):
    expected = load_camvid_frame(camvid, "train", NAME, "A").label
    write_label(camvid, draw_frame(0)[1].astype(np.uint16))
    np.testing.assert_array_equal(load_camvid_frame(camvid, "train", NAME, "A").label, expected)


@pytest.mark.parametrize("shape", [(96, 127), (48, 64)])
def test_a_label_that_does_not_fit_its_image_is_named_with_both_sizes(camvid, shape):
    write_label(camvid, np.zeros(shape, np.uint8))
    with pytest.raises(DataError) as caught:
        load_camvid_frame(camvid, "train", NAME, "A")
    assert f"{NAME}.png: label is {list(shape)}, its image [96, 128]" in str(caught.value)


def test_a_wrong_folder_says_which_file_was_sought(tmp_path):
    with pytest.raises(DataError, match=r"frames\.csv.*give the folder that holds 'camvid'"):
        load_camvid(tmp_path, {"train": 1}, 0.2)


def test_missing_cutouts_are_named_by_the_folder_that_was_sought(tmp_path):
    with pytest.raises(DataError) as caught:
        load_cutouts(tmp_path / "outliers", None)
    assert f"{tmp_path / 'outliers'} should hold cut-outs of outliers" in str(caught.value)
    assert "camvid" not in str(caught.value)


def test_a_list_without_the_needed_columns_is_named(camvid):
    write_rows(camvid / "frames.csv", [{"name": NAME, "part": "train"}])
    with pytest.raises(DataError, match=r"frames\.csv: expected rows with the columns name, sequence, split"):
        load_camvid(camvid, {"train": 1}, 0.2)


def test_cutouts_are_split_by_kind(outliers):
    seen, unseen = load_cutouts(outliers, outliers / "kinds.yaml")
    assert [c.kind for c in seen] == ["ball", "box"]
    assert [c.kind for c in unseen] == ["fish"]
    assert unseen[0].rgba[20, 20].tolist() == [0, 250, 0, 255]


def test_a_single_kind_is_trained_on_and_several_leave_one_to_measure_with(outliers):
    seen, unseen = load_cutouts(outliers, None)
    assert ([c.kind for c in seen], [c.kind for c in unseen]) == (["box", "fish"], ["ball"])
    row = {"file": "fish__fish.png", "kind": "fish", "type": "photo"}
    write_rows(outliers / "train.csv", [row])
    seen, unseen = load_cutouts(outliers, None)
    assert ([c.kind for c in seen], unseen) == (["fish"], [])


def test_renders_are_a_kind_each(outliers):
    shutil.copy(outliers / "train" / "box__box.png", outliers / "train" / "fluent3d__chair.png")
    row = {"file": "fluent3d__chair.png", "kind": "emoji3d", "type": "render"}
    write_rows(outliers / "train.csv", [row, {"file": "fish__fish.png", "kind": "fish", "type": "photo"}])
    (outliers / "kinds.yaml").write_text("kinds: [emoji3d/chair]", encoding="utf-8")
    seen, unseen = load_cutouts(outliers, outliers / "kinds.yaml")
    assert [(c.kind, c.photo) for c in seen] == [("fish", True)]
    assert [(c.kind, c.photo) for c in unseen] == [("emoji3d/chair", False)]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("kinds: [fish, unicorn]", r"kinds\.yaml: no cut-out is of kind 'unicorn'"),
        ("kinds: []", r"train\.csv: 3 outlier cut-outs to train on and 0 to validate with"),
        ("kinds: [ball, box, fish]", r"train\.csv: 0 outlier cut-outs to train on and 3 to validate with"),
        ("fish", r"kinds\.yaml: expected YAML with a list 'kinds'"),
        ("kinds: [", r"kinds\.yaml: expected YAML with a list 'kinds'"),
    ],
)
def test_a_split_of_kinds_that_cannot_be_is_named(outliers, kinds, message):
    (outliers / "kinds.yaml").write_text(kinds, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_cutouts(outliers, outliers / "kinds.yaml")


def test_a_list_that_names_a_file_elsewhere_is_refused(outliers, camvid):
    row = {"file": "../../fish.png", "kind": "fish", "type": "photo"}
    write_rows(outliers / "train.csv", [row])
    with pytest.raises(DataError, match=r"train\.csv: '\.\./\.\./fish\.png' is no path below its folder"):
        load_cutouts(outliers, outliers / "kinds.yaml")
    write_rows(camvid / "frames.csv", [{"name": "/etc/a", "sequence": "A", "split": "train"}])
    with pytest.raises(DataError, match=r"frames\.csv: '/etc/a' is no path below its folder"):
        load_camvid(camvid, {"train": 1}, 0.2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,kind,type\nball__ball.png,bâton,photo\n".encode("cp1252"), "cannot be read .*; expected CSV in UTF-8"),
        ("file,kind,type\nball__ball.png,ball,photo\n".encode("utf-16"), "cannot be read .*; expected CSV in UTF-8"),
        (b"file,kind,type\nball__ball.png,ball,photo\nfish__fish.png\n", "line 3: no kind and no type"),
        (b"file,kind,type\nball__ball.png,,photo\n", "line 2: no kind"),
        (b"datei,art\nball__ball.png,ball,photo\n", "expected rows with the columns file, kind, type"),
    ],
)
def test_a_list_of_another_encoding_or_with_gaps_is_named(outliers, content, message):
    (outliers / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.csv: {message}"):
        load_cutouts(outliers, outliers / "kinds.yaml")


def test_no_outlier_at_all_is_named(outliers):
    (outliers / "train.csv").write_text("file,kind,type\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.csv: expected rows"):
        load_cutouts(outliers, outliers / "kinds.yaml")


def test_a_cutout_without_alpha_is_named(outliers):
    cv2.imwrite(str(outliers / "train" / "box__box.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"box__box\.png: expected an RGBA image"):
        load_cutouts(outliers, outliers / "kinds.yaml")
