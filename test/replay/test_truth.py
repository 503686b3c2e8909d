"""m2a replay --gt."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from m2a_core.perception import Perception
from m2a_core.types import Frame
from test.replay.bags import START, STEP, drive, raw, scene, write_bag


def write_masks(folder: Path, frames: range, shift: int = 0) -> list[np.ndarray]:
    folder.mkdir(parents=True)
    masks = []
    for i in frames:
        masks.append((scene(4 * i + shift)[..., 0] == 255).astype(np.uint8))
        masks[-1][:4] = 255
        cv2.imwrite(str(folder / f"{START + i * STEP}.png"), masks[-1])
    return masks


@pytest.mark.slow
def test_pixel_metrics_are_those_of_scikit_learn_on_the_models_own_maps(replay, tmp_path, tiny):
    masks = write_masks(tmp_path / "gt", range(3), shift=5)
    done = replay(drive(tmp_path / "a", 5), "--gt", tmp_path / "gt")
    perception = Perception.load(tiny, threads=1)
    scores = [np.clip(perception.infer(Frame(scene(4 * i))).anomaly, 0, 1) for i in range(3)]
    truth, score = np.concatenate(masks).ravel(), np.concatenate(scores).ravel()
    truth, score = truth[truth != 255], score[truth != 255]
    found = done.summary["truth"]
    assert done.code == 0
    assert (found["frames_scored"], found["frames_without_truth"]) == (3, 2)
    assert found["pixel"]["auprc"] == pytest.approx(average_precision_score(truth, score), abs=1e-9)
    assert found["pixel"]["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-9)
    assert 0.1 < found["pixel"]["auprc"] < 0.99
    assert found["pixel"]["n_known"] + found["pixel"]["n_anomaly"] == truth.size


def test_mask_without_a_frame_and_mask_of_another_size_are_counted(replay, tmp_path, capsys):
    write_masks(tmp_path / "gt", range(2, 4))
    cv2.imwrite(str(tmp_path / "gt" / f"{START}.png"), np.zeros((10, 10), np.uint8))
    done = replay(drive(tmp_path / "a", 3), "--gt", tmp_path / "gt")
    found = done.summary["truth"]
    assert done.code == 1
    assert found["masks_without_frame"] == {"count": 1, "first": [f"{START + 3 * STEP}.png"]}
    assert found["failed"]["count"] == 1
    assert f"{START}.png" in found["failed"]["first"][0]
    assert (found["frames_scored"], found["frames_without_truth"]) == (1, 1)
    assert "1 masks match no frame's stamp" in capsys.readouterr().out


def test_figures_without_a_scored_frame_are_null(replay, tmp_path):
    write_masks(tmp_path / "gt", range(7, 8))
    done = replay(drive(tmp_path / "a", 1), "--gt", tmp_path / "gt")
    assert (done.code, done.summary["truth"]["pixel"]["auprc"]) == (1, None)


@pytest.mark.slow
def test_cameras_with_equal_stamps_have_masks_of_their_own(replay, tmp_path, capsys):
    both = [raw(scene(0), i, f"/cam/{name}/image_raw") for i in range(2) for name in ("left", "right")]
    bag = write_bag(tmp_path / "a", both)
    write_masks(tmp_path / "flat", range(2))
    assert replay(bag, "--gt", tmp_path / "flat").code == 2
    assert "cam_left, cam_right" in capsys.readouterr().err
    write_masks(tmp_path / "gt" / "cam_right", range(1))
    done = replay(bag, "--gt", tmp_path / "gt")
    assert (done.summary["truth"]["frames_scored"], done.summary["truth"]["frames_without_truth"]) == (1, 3)


@pytest.mark.parametrize(("name", "word"), [(None, "no such folder"), ("a.txt", "no .png"), ("a.png", "not a stamp")])
def test_folder_that_is_no_ground_truth_is_an_error(replay, tmp_path, capsys, name, word):
    if name:
        (tmp_path / "gt").mkdir()
        (tmp_path / "gt" / name).write_bytes(b"")
    assert replay(drive(tmp_path / "a", 1), "--gt", tmp_path / "gt").code == 2
    assert word in capsys.readouterr().err
