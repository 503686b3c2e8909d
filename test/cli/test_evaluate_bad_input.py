"""`m2a evaluate` on folders: what it refuses or leaves out, and the words for it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from m2a_core.cli.main import main
from m2a_core.evaluation import evaluator
from m2a_core.evaluation.shards import process_pixels
from test.cli.score_maps import evaluate, spoil_size, write_scores
from test.metrics.smiyc_frames import frames


def spoil_nan(path: Path) -> None:
    np.savez(path, anomaly=np.full((120, 160), np.nan, np.float32))


def spoil_infinite(path: Path) -> None:
    np.savez(path, anomaly=np.full((120, 160), np.inf, np.float32))


def spoil_key(path: Path) -> None:
    np.savez(path, score=np.zeros((120, 160), np.float32))


def spoil_pickle(path: Path) -> None:
    np.savez(path, anomaly=np.array([{"a": 1}], dtype=object))


def spoil_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def spoil_colours(path: Path) -> None:
    np.savez(path, anomaly=np.zeros((120, 160, 3), np.float32))


SPOILED = [spoil_size, spoil_nan, spoil_infinite, spoil_key, spoil_pickle, spoil_bytes, spoil_colours]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_bad_score_map_is_named_and_costs_no_other(
    data: Path, spoil: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, complete = evaluate(data)
    bad = data / "pred" / "frame1.npz"
    good = bad.read_bytes()
    spoil(bad)
    code, figures = evaluate(data)
    assert code == 2
    assert str(bad) in capsys.readouterr().err
    assert figures["n_frames"] == 2
    assert figures["auprc"] is not None
    assert list(figures["failed"]) == ["frame1"]

    bad.write_bytes(good)
    seen: list[int] = []
    monkeypatch.setattr(evaluator, "process_pixels", lambda shard: seen.append(1) or process_pixels(shard))
    assert evaluate(data) == (0, complete)
    assert seen == [1]


def test_all_void_truth_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = data / "gt" / "frame2_labels_semantic.png"
    cv2.imwrite(str(bad), np.full((120, 160), 255, np.uint8))
    code, figures = evaluate(data)
    error = capsys.readouterr().err
    assert (code, figures["n_frames"]) == (2, 2)
    assert str(bad) in error
    assert "void" in error


def test_a_foreign_truth_value_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(data / "gt" / "frame0_labels_semantic.png"), np.full((120, 160), 2, np.uint8))
    assert evaluate(data)[0] == 2
    assert "2 (19200 pixels)" in capsys.readouterr().err


@pytest.mark.parametrize("side", ["pred", "gt"])
def test_missing_pairs_are_named_and_the_others_scored(
    data: Path, side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    next((data / side).glob("frame0*")).unlink()
    code, figures = evaluate(data)
    assert (code, figures["n_frames"]) == (2, 2)
    error = capsys.readouterr().err
    assert "frame0" in error
    assert ("no score map" if side == "pred" else "no ground truth") in error


@pytest.mark.parametrize("side", ["pred", "gt"])
def test_an_empty_or_missing_folder_is_named(data: Path, side: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data / side).iterdir():
        path.unlink()
    assert evaluate(data)[0] == 2
    assert f"{data / side}: no " in capsys.readouterr().err
    (data / side).rmdir()
    assert evaluate(data)[0] == 2
    assert f"{data / side}: no such folder" in capsys.readouterr().err


def test_names_that_do_not_match_are_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data / "pred").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    assert evaluate(data)[0] == 2
    assert "xframe0.npz and frame0_labels_semantic.png" in capsys.readouterr().err


def test_two_files_for_a_frame_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(data / "pred" / "frame0.npy", np.zeros((120, 160), np.float32))
    assert evaluate(data)[0] == 2
    assert "frame0.npy, frame0.npz" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--threshold", "0.5")])
def test_masks_of_0_and_255_measure_nothing_and_say_why(
    data: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for i, (_, truth) in enumerate(frames()):
        cv2.imwrite(str(data / "gt" / f"frame{i}_labels_semantic.png"), np.uint8(255) * (truth == 1))
    code, figures = evaluate(data, *options)
    assert code == 2
    assert figures["auprc"] is None
    said = capsys.readouterr().err
    void = sum(int((truth == 1).sum()) for _, truth in frames())
    assert f"no anomalous pixel (1) in 3 frames, but {void} void ones (255)" in said
    assert "store 1 instead" in said


def test_truth_without_a_known_pixel_measures_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data / "gt").iterdir():
        cv2.imwrite(str(path), np.ones((120, 160), np.uint8))
    assert evaluate(data)[0] == 2
    assert "no known pixel (0) in 3 frames" in capsys.readouterr().err


def test_a_key_that_pictures_cannot_hold_is_named_with_those_they_do(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "drawn").mkdir()
    for i, (score, _) in enumerate(frames()):
        for key in ("anomaly", "refined"):
            cv2.imwrite(str(data / "drawn" / f"frame{i}_{key}.png"), np.round(score * 65535).astype(np.uint16))
    assert evaluate(data, pred="drawn")[0] == 0
    assert evaluate(data, "--key", "refined", pred="drawn")[0] == 0
    (data / "out.json").unlink()
    assert evaluate(data, "--key", "nope", pred="drawn") == (2, {})
    assert f"{data / 'drawn'}: no score map 'nope'" in (said := capsys.readouterr().err)
    assert "it holds anomaly, refined" in said


def test_a_key_of_files_without_names_inside_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(data / "plain", ".npy")
    assert evaluate(data, "--key", "refined", pred="plain") == (2, {})
    assert "no score map 'refined'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--model", "x"), ("--scores", "rba"), ("--region", "road"), ("--horizon", "off"), ("--format", "coco"),
     ("--classes", "x.yaml")],
)  # fmt: skip
def test_options_of_models_are_refused_with_score_maps(
    data: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(data, option, value) == (2, {})
    assert f"{option}: only with --dataset NAME --root DIR" in capsys.readouterr().err


def test_a_call_without_a_source_says_what_to_give(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--pred", str(data / "pred"), "--json", str(data / "out.json")]) == 2
    assert "--pred DIR --gt DIR" in capsys.readouterr().err


@pytest.mark.parametrize("threshold", ["nan", "inf"])
def test_a_threshold_that_is_no_score_is_refused(
    data: Path, threshold: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(data, "--threshold", threshold) == (2, {})
    assert f"--threshold: expected a finite score, got {threshold}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pred", "report.html", "gt/frame0_labels_semantic.png/out.json"])
def test_an_output_that_cannot_be_written_is_named(data: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / name
    assert main(["evaluate", "--pred", str(data / "pred"), "--gt", str(data / "gt"), "--json", str(out)]) == 2
    assert str(out).removesuffix("/out.json") in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError("12 requested and 3 written"), OSError(errno.ENOSPC, "No space left")])
def test_a_full_disk_is_named(
    data: Path, error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(np, "savez", fail)
    assert evaluate(data) == (2, {})
    assert f"m2a: error: {data / 'out.json'}: " in (said := capsys.readouterr().err)
    assert "disk full" in said or "No space left" in said
