"""`m2a evaluate` on folders: figures, formats, resuming, bad input, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from m2a_core.evaluation import evaluator
from test.cli.score_maps import evaluate, spoil_size, write_scores
from test.metrics.smiyc_frames import frames
from test.metrics.test_component import REFERENCE_CURVE

CONTRACT = {"auprc", "fpr95", "auroc", "f1_star", "siou", "ppv", "n_frames", "n_pixels"}


def test_without_a_track_the_pixel_figures_are_scikit_learns(data: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    code, figures = evaluate(data)
    assert code == 0
    assert figures.keys() >= CONTRACT
    score = np.concatenate([np.round(s[t < 255] * 65535) for s, t in frames()])
    truth = np.concatenate([t[t < 255] for _, t in frames()])
    fpr, tpr, _ = metrics.roc_curve(truth, score, drop_intermediate=False)
    assert figures["auprc"] == pytest.approx(metrics.average_precision_score(truth, score), abs=1e-9)
    assert figures["auroc"] == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-9)
    assert figures["fpr95"] == pytest.approx(fpr[np.searchsorted(tpr, 0.95)], abs=1e-9)
    assert (figures["n_frames"], figures["n_pixels"], figures["pixel_rule"]) == (3, len(truth), "exact")
    _, with_track = evaluate(data, "--track", "obstacle", "--threshold", "0.5")
    assert with_track["exact"] == {key: figures[key] for key in ("auprc", "fpr95", "auroc")}
    # road-anomaly-benchmark at commit 1c7804e, obstacle track, threshold 0.5
    assert with_track["f1_star"] == pytest.approx(0.29040404040404044, abs=1e-9)
    assert with_track["siou"] == pytest.approx(0.289363552156716, abs=1e-9)
    assert with_track["ppv"] == pytest.approx(0.7860100800216175, abs=1e-9)


def test_with_a_track_the_pixel_figures_are_the_benchmarks(data: Path) -> None:
    (data / "float").mkdir()
    for i, (score, _) in enumerate(frames()):
        np.save(data / "float" / f"frame{i}.npy", score)
    _, figures = evaluate(data, "--track", "anomaly", pred="float")
    assert {key: figures[key] for key in ("auprc", "fpr95", "auroc")} == pytest.approx(
        {key: REFERENCE_CURVE[key] for key in ("auprc", "fpr95", "auroc")}, abs=1e-9
    )
    assert figures["threshold"] == pytest.approx(REFERENCE_CURVE["best_f1_threshold"], abs=1e-9)
    assert figures["pixel_rule"] == "SMIYC code, binned"


@pytest.mark.parametrize("suffix", [".npy", ".tiff", ".png"])
def test_every_format_gives_the_same_figures(data: Path, suffix: str) -> None:
    _, expected = evaluate(data)
    write_scores(data / "other", suffix)
    code, figures = evaluate(data, pred="other")
    assert code == 0
    assert {k: figures[k] for k in CONTRACT} == {k: expected[k] for k in CONTRACT}


def test_more_workers_give_the_same_figures(data: Path) -> None:
    assert evaluate(data, "--workers", "3") == evaluate(data)


def test_partial_results_are_gone_after_success(data: Path) -> None:
    evaluate(data)
    assert sorted(p.name for p in data.iterdir()) == ["gt", "out.html", "out.json", "pred"]


def test_a_work_folder_of_the_user_is_refused_and_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = data / "out.work" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("x")
    assert evaluate(data) == (2, {})
    assert f"{notes.parent}: is taken" in capsys.readouterr().err
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]


def test_a_file_in_the_place_of_the_work_folder_is_refused_and_kept(data: Path) -> None:
    (data / "out.work").write_text("x")
    assert evaluate(data) == (2, {})
    assert (data / "out.work").read_text() == "x"


def test_an_output_that_is_its_own_work_folder_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(data, "--json", str(data / "out.work")) == (2, {})
    assert "out.work: is where partial results go" in capsys.readouterr().err
    assert sorted(p.name for p in data.iterdir()) == ["gt", "pred"]


@pytest.mark.parametrize("stage", ["process_pixels", "process_components"])
def test_a_killed_run_goes_on_where_it_stopped(data: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, expected = evaluate(data)
    (data / "out.json").unlink()
    done: list[str] = []
    original = getattr(evaluator, stage)

    def interrupted(shard: Any, **kwargs: Any) -> int:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard.directory.name)
        return original(shard, **kwargs)

    monkeypatch.setattr(evaluator, stage, interrupted)
    assert evaluate(data) == (130, {})
    first, done[:] = list(done), []
    monkeypatch.setattr(
        evaluator, stage, lambda shard, **kwargs: done.append(shard.directory.name) or original(shard, **kwargs)
    )
    assert evaluate(data) == (0, expected)
    assert len(first) == 2
    assert len(done) == 1
    assert done[0] not in first


def test_names_that_end_in_an_underscore_pair_like_others(data: Path) -> None:
    (data / "pred" / "frame0.npz").rename(data / "pred" / "frame0_.npz")
    (data / "gt" / "frame0_labels_semantic.png").rename(data / "gt" / "frame0_.png")
    code, figures = evaluate(data)
    assert (code, figures["n_frames"]) == (0, 3)


@pytest.mark.parametrize("kind", ["palette", "rgb", "rgba", "16 bit", "npy", "upper case"])
def test_truth_of_every_form_gives_the_same_figures(data: Path, kind: str) -> None:
    _, expected = evaluate(data)
    for i, (_, truth) in enumerate(frames()):
        path = data / "gt" / f"frame{i}_labels_semantic.png"
        path.unlink()
        if kind == "palette":
            picture = Image.fromarray(truth, mode="P")
            picture.putpalette([c for i in range(256) for c in (i, 0, 255 - i)])
            picture.save(path)
        elif kind == "npy":
            np.save(path.with_suffix(".npy"), truth.astype(np.int64))
        elif kind == "upper case":
            Image.fromarray(truth).save(path.with_suffix(".PNG"))
        else:
            opaque = np.full_like(truth, 255)
            forms = {"rgb": np.dstack([truth] * 3), "rgba": np.dstack([truth, truth, truth, opaque])}
            Image.fromarray(forms.get(kind, truth.astype(np.uint16))).save(path)
    assert evaluate(data) == (0, expected)


def test_only_normal_frames_have_no_rank_figures_but_false_components(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "gt").iterdir():
        cv2.imwrite(str(path), np.zeros((120, 160), np.uint8))
    code, figures = evaluate(data)
    assert code == 2
    assert "no anomalous pixel (1) in 3 frames: nothing is measured" in capsys.readouterr().err
    assert [figures[k] for k in ("auprc", "fpr95", "auroc", "f1_star", "threshold")] == [None] * 5
    code, figures = evaluate(data, "--threshold", "0.5", "--track", "obstacle")
    assert (code, figures["f1_star"], figures["ppv"], figures["siou"]) == (0, 0.0, 0.0, None)


def test_frames_without_anomalies_within_a_set_are_legal(data: Path) -> None:
    cv2.imwrite(str(data / "gt" / "frame1_labels_semantic.png"), np.zeros((120, 160), np.uint8))
    code, figures = evaluate(data)
    assert (code, figures["n_frames"], figures["undefined"]) == (0, 3, [])


def test_a_changed_file_is_scored_anew(data: Path) -> None:
    spoil_size(data / "pred" / "frame1.npz")
    evaluate(data)
    np.savez(data / "pred" / "frame1.npz", anomaly=frames()[1][1].astype(np.float32))
    code, figures = evaluate(data)
    assert code == 0
    assert figures["n_frames"] == 3


def test_the_report_shows_curves_pictures_and_quoted_rows(data: Path) -> None:
    images = data / "camera"
    images.mkdir()
    cv2.imwrite(str(images / "frame0.jpg"), np.full((120, 160, 3), 128, np.uint8))
    evaluate(data, "--images", str(images))
    report = (data / "out.html").read_text()
    assert report.count("<svg") == 2
    # truth, decision and score of three frames, and one camera image
    assert report.count('src="data:image/jpeg;base64,') == 3 * 3 + 1
    assert "All 3 frames" in report
    assert "Mask2Anomaly (quoted)" in report
    assert "this evaluation (measured)" in report
    assert "88.70" in report


def test_another_array_of_the_score_files_by_name(data: Path) -> None:
    _, figures = evaluate(data, "--key", "other")
    assert figures["auroc"] == 0.5
