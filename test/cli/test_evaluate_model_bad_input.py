"""`m2a evaluate --dataset`: what it refuses or leaves out, and the words for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2a_core.cli.main import main
from test.cli.tiny_scenes import evaluate, scene, write


def test_an_unknown_score_is_answered_with_the_known_ones(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "folder", model, "--score", "magic")[0] == 2
    assert "refined, anomaly, msp" in capsys.readouterr().err


def test_a_damaged_image_is_named_and_costs_no_other(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = folder / "data" / "images" / "1.png"
    bad.write_bytes(b"not a picture")
    code, figures = evaluate(folder, "folder", model)
    assert (code, figures["n_frames"]) == (2, 2)
    assert str(bad) in capsys.readouterr().err


def test_where_no_frame_can_be_scored_the_error_counts_the_frames(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (folder / "data" / "images").iterdir():
        path.write_bytes(b"damaged")
    assert evaluate(folder, "folder", model) == (2, {})
    assert "none of 3 frames could be scored" in capsys.readouterr().err


def test_class_labels_of_void_alone_are_named(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, ids = scene(40)
    write(tmp_path / "data" / "test" / "a.png", image)
    write(tmp_path / "data" / "testannot" / "a.png", np.full_like(ids, 11))
    code, figures = evaluate(tmp_path, "camvid", model)
    assert (code, figures["miou"]) == (2, None)
    assert "no pixel has a class: mIoU is undefined" in capsys.readouterr().err


def test_a_model_of_other_classes_is_refused(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, ids = scene(40)
    write(tmp_path / "data/leftImg8bit/val/ulm/a_leftImg8bit.png", image)
    write(tmp_path / "data/gtFine/val/ulm/a_gtFine_labelIds.png", ids)
    assert evaluate(tmp_path, "cityscapes", model)[0] == 2
    assert "label set 'camvid11' lacks" in capsys.readouterr().err


def test_a_submission_of_another_network_or_score_is_not_mixed_with_this_one(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("h5py")
    write(tmp_path / "data/images/bear0000.jpg", scene(40)[0])
    options = ("--submission", str(tmp_path / "sub"))
    assert evaluate(tmp_path, "smiyc_anomaly", model, *options)[0] == 0
    assert evaluate(tmp_path, "smiyc_anomaly", model, *options)[0] == 0
    assert evaluate(tmp_path, "smiyc_anomaly", model, *options, "--score", "anomaly")[0] == 2
    assert "holds files of refined of" in capsys.readouterr().err


def test_a_damaged_class_label_costs_its_frame_alone(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(3):
        image, ids = scene(16 + 24 * i)
        write(tmp_path / f"data/images/test/{i}.png", image)
        write(tmp_path / f"data/labels/test/{i}.png", ids if i != 1 else ids[:8, :8])
    code, figures = evaluate(tmp_path, "camvid", model)
    assert code == 2
    assert figures["n_frames"] == 2
    assert figures["miou"] > 0.9
    error = capsys.readouterr().err
    assert "frame '1' is left out" in error
    assert str(tmp_path / "data/labels/test/1.png") in error


@pytest.mark.parametrize(("option", "value"), [("--key", "refined"), ("--images", "camera")])
def test_options_of_score_maps_are_refused_with_a_data_set(
    folder: Path, model: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "folder", model, option, value) == (2, {})
    assert f"{option}: only with --pred DIR --gt DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--scores", "all"), ("--region", "scene"), ("--track", "anomaly"), ("--threshold", "0.5"), ("--workers", "2")],
)
def test_options_of_anomalies_are_refused_where_there_are_classes_only(
    tmp_path: Path, model: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image, ids = scene(40)
    write(tmp_path / "data" / "test" / "a.png", image)
    write(tmp_path / "data" / "testannot" / "a.png", ids)
    assert evaluate(tmp_path, "camvid", model, option, value) == (2, {})
    assert f"{option}: only with ground truth of anomalies" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "coco"), "--format: only with --dataset own"),
        (("--submission", "sub", "--threshold", "0.5"), "--threshold: not with --submission"),
        (("--submission", "sub", "--workers", "2"), "--workers: not with --submission"),
        (("--submission", "sub", "--scores", "rba,msp"), "--submission: holds one score; --scores names 2"),
    ],
)
def test_options_that_say_nothing_beside_others_are_refused(
    tmp_path: Path, model: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path, "smiyc_anomaly", model, *options) == (2, {})
    assert said in capsys.readouterr().err


def test_score_maps_make_no_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--pred", "a", "--gt", "b", "--submission", str(tmp_path)]) == 2
    assert "--submission: written by a model" in capsys.readouterr().err
