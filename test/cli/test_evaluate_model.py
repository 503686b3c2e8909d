"""`m2a evaluate --dataset` with the tiny bundle, whose answers can be read off the picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2a_core.evaluation import predict
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19, STREETHAZARDS12
from test.cli.tiny_scenes import COLORS, ROAD, SIZE, SKY, evaluate, scene, write
from test.tiny_bundle import RED, tiny_colors, write_tiny_bundle


def test_a_visible_anomaly_is_found(folder: Path, model: Path) -> None:
    code, figures = evaluate(folder, "folder", model, "--track", "anomaly")
    assert code == 0
    assert figures["auprc"] > 0.95
    assert figures["fpr95"] < 0.05
    assert figures["siou"] > 0.7
    assert (figures["n_frames"], figures["score"]) == (3, "refined")
    assert (folder / "out.html").read_text().count('src="data:image/jpeg') == 3 * 5


@pytest.mark.parametrize(("decision", "deciding"), [("anomaly", "anomaly"), ("background", "refined")])
def test_the_model_s_own_threshold_is_the_mask_s_of_the_score_that_decides(
    folder: Path, model: Path, decision: str, deciding: str
) -> None:
    own = shutil.copytree(model, folder / "own")
    manifest = json.loads((own / "manifest.json").read_text()) | {"decision": decision}
    manifest["thresholds"] |= {"anomaly": 0.6, "refined": 0.9}
    manifest.pop("digest", None)
    (own / "manifest.json").write_text(json.dumps(manifest))
    for score in ("anomaly", "refined", "background"):
        _, figures = evaluate(folder, "folder", own, "--score", score)
        assert figures["model_threshold"] == (0.6 if score == deciding else None)


@pytest.mark.parametrize("score", ["anomaly", "msp", "rba", "void_classifier"])
def test_other_scores_by_name(folder: Path, model: Path, score: str) -> None:
    code, figures = evaluate(folder, "folder", model, "--score", score)
    assert code == 0
    assert figures["auprc"] > 0.9
    assert figures["score"] == score


@pytest.mark.slow
def test_scores_are_compared_on_the_same_outputs(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[int] = []
    original = predict.Scorer.compute
    monkeypatch.setattr(predict.Scorer, "compute", lambda *a, **k: runs.append(1) or original(*a, **k))
    code, figures = evaluate(folder, "folder", model, "--scores", "all")
    assert code == 0
    assert len(runs) == 3
    assert list(figures["scores"]) == list(predict.SCORE_NAMES)
    assert "void_classifier" in capsys.readouterr().out
    assert "Scores on the same outputs" in (folder / "out.html").read_text()
    for name in ("rba", "anomaly"):
        _, alone = evaluate(folder, "folder", model, "--scores", name)
        assert figures["scores"][name] == {key: alone[key] for key in figures["scores"][name]}
        assert "scores" not in alone


def test_the_model_does_not_run_twice_on_a_frame(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, complete = evaluate(folder, "folder", model)
    seen: list[int] = []
    original = predict.Scorer.compute

    def interrupted(self: predict.Scorer, image: np.ndarray, panoptic: bool = False) -> dict[str, np.ndarray]:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(1)
        return original(self, image, panoptic)

    monkeypatch.setattr(predict.Scorer, "compute", interrupted)
    assert evaluate(folder, "folder", model)[0] == 130
    seen[:] = [1]
    assert evaluate(folder, "folder", model) == (0, complete)
    assert len(seen) == 2


def test_closed_set_classes_give_miou(tmp_path: Path, model: Path) -> None:
    image, ids = scene(40)
    write(tmp_path / "data" / "test" / "a.png", image)
    ids[0, :11] = range(11)
    write(tmp_path / "data" / "testannot" / "a.png", ids)
    code, figures = evaluate(tmp_path, "camvid", model)
    assert code == 0
    assert figures["iou"]["sky"] > 0.9
    assert figures["iou"]["road"] > 0.8
    assert "auprc" not in figures


def test_a_class_that_occurs_nowhere_is_named(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, ids = scene(40)
    ids[0, :10] = range(10)
    write(tmp_path / "data" / "test" / "a.png", image)
    write(tmp_path / "data" / "testannot" / "a.png", ids)
    code, figures = evaluate(tmp_path, "camvid", model)
    assert code == 2
    assert figures["iou"]["bicyclist"] is None
    assert figures["miou"] is not None
    assert "1 of 11 classes occur in no labelled pixel" in (said := capsys.readouterr().err)
    assert said.rstrip().endswith(": bicyclist")


def test_classes_come_with_confusion_worst_frames_and_no_table_of_other_data(tmp_path: Path, model: Path) -> None:
    for name, wrong in (("good", 0), ("poor", 8)):
        image, ids = scene(40)
        # Rows of road that the truth calls pavement.
        ids[40 : 40 + wrong] = CAMVID11.names.index("pavement")
        write(tmp_path / "data" / "test" / f"{name}.png", image)
        write(tmp_path / "data" / "testannot" / f"{name}.png", ids)
    _, figures = evaluate(tmp_path, "camvid", model)
    names, counts = figures["confusion"]["classes"], np.array(figures["confusion"]["counts"])
    assert counts.shape == (11, 12)
    assert counts[names.index("pavement")].sum() == 8 * SIZE[1]
    assert counts[names.index("pavement")].argmax() == ROAD
    frames = figures["class_frames"]
    assert frames["poor"]["miou"] < frames["good"]["miou"]
    assert frames["poor"]["accuracy"] == pytest.approx(frames["good"]["accuracy"] - 8 / 96, abs=0.03)
    report = (tmp_path / "out.html").read_text()
    worst = report[report.index('id="worst"') :]
    assert worst.index("poor") < worst.index("good")
    for shown in ("Confusion matrix", "wrong pixels", "road (100.0 %)"):
        assert shown in report
    assert "quoted" not in report


def test_open_set_panoptic_scores_the_unknown_by_itself(tmp_path: Path, model: Path) -> None:
    image, ids = scene(40)
    root = tmp_path / "data"
    write(root / "val2017" / "1.png", image)
    codes = {SKY: 1, ROAD: 2, 11: 3}
    segments = np.vectorize(codes.get)(ids)
    write(root / "panoptic_val2017" / "1.png", np.stack([segments, segments * 0, segments * 0], -1).astype(np.uint8))
    names = {1: "sky", 2: "road", 3: "pizza"}
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "categories": [{"id": i, "name": name} for i, name in names.items()],
        "annotations": [
            {
                "image_id": 1,
                "file_name": "1.png",
                "segments_info": [{"id": i, "category_id": i, "iscrowd": 0} for i in names],
            }
        ],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    code, figures = evaluate(tmp_path, "coco_panoptic_k5", model)
    assert code == 0
    assert figures["panoptic"]["stuff"]["pq"] > 0.8
    assert figures["panoptic"]["unknown"]["pq"] > 0.6
    assert figures["panoptic"]["things"]["pq"] is None


def test_streethazards_takes_each_towns_threshold_from_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from m2a_core.data.classes import STREETHAZARDS_NAMES
    from m2a_core.labels.label_set import LabelSet

    names = STREETHAZARDS_NAMES
    labels = LabelSet("streethazards12", names, frozenset({3, 9}), tuple((i, i, i) for i in range(12)), 6)
    colors = tiny_colors(labels)
    bundle = write_tiny_bundle(tmp_path / "bundle", SIZE, replace(labels, things=frozenset({3, 9})))
    for town, left in (("t5", 16), ("t6", 64)):
        image = np.empty((*SIZE, 3), np.uint8)
        image[:], image[:40] = colors["road"], colors["building"]
        label = np.full(SIZE, 2 + names.index("road"), np.uint8)
        label[:40] = 2 + names.index("building")
        image[56:80, left : left + 32], label[56:80, left : left + 32] = RED, 14
        write(tmp_path / "data/test/images/test" / town / "1.png", image)
        write(tmp_path / "data/test/annotations/test" / town / "1.png", label)
    _, figures = evaluate(tmp_path, "streethazards", bundle, "--score", "anomaly")
    assert figures["open_iou"] > 0.85
    assert figures["miou"] > 0.9
    assert set(figures["open_iou_per_set"]) == {"t5", "t6"}
    assert "open-IoU t5" in (tmp_path / "out.html").read_text()
    # Without an anomaly in t6 there is no threshold for t5.
    capsys.readouterr()
    label[label == 14] = 2 + names.index("road")
    write(tmp_path / "data/test/annotations/test/t6/1.png", label)
    code, figures = evaluate(tmp_path, "streethazards", bundle, "--score", "anomaly")
    assert (code, figures["open_iou"], figures["open_iou_per_set"]["t5"]) == (2, None, None)
    assert figures["open_iou_per_set"]["t6"] > 0.85
    assert "no threshold for t5: the frames that it is taken from have no anomalous pixel" in capsys.readouterr().err
    assert "open-IoU t5" in (tmp_path / "out.html").read_text()


def test_submission_files_are_the_benchmarks(tmp_path: Path, model: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write(tmp_path / "data/images/bear0000.jpg", scene(40)[0])
    assert evaluate(tmp_path, "smiyc_anomaly", model, "--submission", str(tmp_path / "sub"))[0] == 0
    path = tmp_path / "sub" / "anomaly_p" / "tiny" / "AnomalyTrack-all" / "bear0000.hdf5"
    with h5py.File(path) as file:
        assert file["value"].dtype == np.float16
        assert file["value"].shape == SIZE


@pytest.mark.slow
def test_a_frame_that_was_mended_after_a_failed_run_is_done_anew(folder: Path, model: Path) -> None:
    mask = folder / "data" / "masks" / "1.png"
    whole = mask.read_bytes()
    write(mask, np.zeros((8, 8), np.uint8))
    code, figures = evaluate(folder, "folder", model)
    assert (code, list(figures["failed"]), figures["n_frames"]) == (2, ["1"], 2)
    assert figures["failed"]["1"] == f"{mask}: 8x8 pixels, expected the size of its image, 128x96"
    mask.write_bytes(whole)
    code, figures = evaluate(folder, "folder", model)
    assert (code, figures["failed"], figures["n_frames"]) == (0, {}, 3)


def test_a_mask_that_became_another_size_after_a_failed_run_is_named_itself(folder: Path, model: Path) -> None:
    masks = folder / "data" / "masks"
    (masks / "1.png").write_bytes(b"damaged")
    assert evaluate(folder, "folder", model)[0] == 2
    write(masks / "0.png", np.zeros((8, 8), np.uint8))
    code, figures = evaluate(folder, "folder", model)
    assert (code, sorted(figures["failed"])) == (2, ["0", "1"])
    assert figures["failed"]["0"] == f"{masks / '0.png'}: 8x8 pixels, expected the size of its image, 128x96"


def test_an_image_that_changed_after_a_failed_run_is_done_anew(folder: Path, model: Path) -> None:
    (folder / "data" / "masks" / "1.png").write_bytes(b"damaged")
    before = evaluate(folder, "folder", model)[1]
    empty, _ = scene(0)
    empty[40:] = COLORS["road"]
    write(folder / "data" / "images" / "0.png", empty)
    after = evaluate(folder, "folder", model)[1]
    assert after["auprc"] < before["auprc"] - 0.1


def test_streethazards_counts_the_classes_of_the_released_network(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", SIZE, STREETHAZARDS12)
    colors = tiny_colors(STREETHAZARDS12)
    for town in ("t5", "t6"):
        image = np.full((*SIZE, 3), colors["road"], np.uint8)
        image[:48], image[56:80, 16:48], image[80:] = colors["background"], RED, colors["building"]
        ids = np.full(SIZE, 8, np.uint8)  # stored: 1 unlabelled, 2 building, 4 other, 8 road, 14 anomaly
        ids[:48], ids[56:80, 16:48], ids[80:] = 1, 14, 4
        write(tmp_path / f"data/test/images/test/{town}/0.png", image)
        write(tmp_path / f"data/test/annotations/test/{town}/0.png", ids)
    _, figures = evaluate(tmp_path, "streethazards", bundle)
    seen = {name for name, iou in figures["iou"].items() if iou is not None}
    assert {"background", "road"} <= seen
    assert figures["open_iou"] > 0.5


def test_a_model_with_finer_classes_is_measured_in_those_of_camvid(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", SIZE, CITYSCAPES19)
    colors = tiny_colors(CITYSCAPES19)
    image, ids = scene(40)
    image[:], image[:40] = colors["road"], colors["sky"]
    ids[0, :11] = range(11)
    write(tmp_path / "data" / "test" / "a.png", image)
    write(tmp_path / "data" / "testannot" / "a.png", ids)
    code, figures = evaluate(tmp_path, "camvid", bundle)
    assert code == 0
    assert list(figures["iou"]) == list(CAMVID11.names)
    assert figures["iou"]["road"] > 0.8


def test_with_region_road_the_score_lowered_off_the_road_is_evaluated(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    _, scene_wide = evaluate(folder, "folder", model)
    _, on_road = evaluate(folder, "folder", model, "--region", "road")
    assert (scene_wide["score"], on_road["score"]) == ("refined", "refined_road")
