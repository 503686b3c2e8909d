"""`m2a calibrate` with the tiny bundle: thresholds, what is stored, and what it says."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from m2a_core.bundle.loading import load_bundle
from m2a_core.cli import calibrate
from m2a_core.cli.calibration_frames import sources
from m2a_core.cli.main import main
from m2a_core.images import read_image
from m2a_core.perception import Perception
from m2a_core.types import Frame
from test.cli.test_evaluate_model import SIZE, scene, write
from test.tiny_bundle import tiny_colors, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny", SIZE)


def manifest(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "manifest.json").read_text())


def write_normal(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        image = np.empty((*SIZE, 3), np.uint8)
        image[:], image[:40] = tiny_colors()["road"], tiny_colors()["sky"]
        side = int(rng.integers(4, 12))
        image[60 : 60 + side, 8 : 8 + side] = (250, 250, 10)  # no query's colour: scores high
        write(folder / f"{i:03d}.png", image)


def test_labelled_frames_give_the_threshold_at_95_percent(tmp_path: Path, bundle: Path) -> None:
    image, ids = scene(40)
    write(tmp_path / "images" / "a.png", image)
    write(tmp_path / "masks" / "a.png", (ids == 11).astype(np.uint8))
    before = manifest(bundle)
    options = ["--images", str(tmp_path / "images"), "--gt", str(tmp_path / "masks")]
    assert main(["calibrate", "--model", str(bundle), *options]) == 0
    after = manifest(bundle)
    result = Perception.load(bundle).infer(Frame(image))
    assert result.anomaly is not None
    scores = result.anomaly[ids == 11]
    threshold = after["thresholds"]["anomaly"]
    assert np.mean(scores >= threshold) >= 0.95
    assert np.mean(scores > threshold) < 0.95
    others = {k: v for k, v in after["thresholds"].items() if k != "anomaly"}
    assert others == {k: v for k, v in before["thresholds"].items() if k != "anomaly"}
    assert after["metrics"]["calibration_tpr"] == 0.95
    assert {k: v for k, v in after.items() if k not in ("thresholds", "metrics", "digest")} == {
        k: v for k, v in before.items() if k not in ("thresholds", "metrics", "digest")
    }
    load_bundle(bundle)


@pytest.mark.slow
def test_drift_takes_fifty_frames_and_leaves_the_thresholds(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_normal(tmp_path / "few", 9)
    options = ["calibrate", "--model", str(bundle), "--drift", "--images"]
    assert main([*options, str(tmp_path / "few")]) == 2
    assert "--drift: expected at least 50 frames, got 9" in capsys.readouterr().err
    before = manifest(bundle)
    write_normal(tmp_path / "many", 50)
    assert main([*options, str(tmp_path / "many")]) == 0
    after = manifest(bundle)
    assert after["scores"]["frames"] == 50
    assert {**before, "scores": after["scores"], "digest": after["digest"]} == after
    # Few frames choose thresholds and leave the profile.
    assert main(["calibrate", "--model", str(bundle), "--images", str(tmp_path / "few"), "--frame-fpr", "0.1"]) == 0
    assert "drift    watched as before" in capsys.readouterr().out
    assert manifest(bundle)["scores"] == after["scores"]


@pytest.mark.parametrize("more", [["--gt", "masks"], ["--normal", "images"], ["--frame-fpr", "0.1"]])
def test_drift_stands_alone(bundle: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    with pytest.raises(SystemExit) if more[0] == "--frame-fpr" else nullcontext():
        assert main(["calibrate", "--model", str(bundle), "--images", "images", "--drift", *more]) == 2
    assert "--drift: give normal frames" in (said := capsys.readouterr().err) or "not allowed with" in said


def test_frames_of_a_drive_come_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    names = ["a2.png", "a10.png", "a10b.png", "b.png", "b01_9.png", "b1_10.png", "b²3.png"]
    for name in names:
        write(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    _, frames = sources(parser.parse_args(["--images", str(tmp_path), "--frame-fpr", "0.5"]))
    assert [path.name for path, _, _ in frames] == names


def test_a_data_set_takes_no_other_ground_truth(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", "folder", "--root", str(tmp_path), "--gt", str(tmp_path)]
    assert main(["calibrate", "--model", str(bundle), *options]) == 2
    assert "--gt: only with --images DIR; a data set has its own" in capsys.readouterr().err


def test_normal_frames_give_a_guarantee_and_say_how_many_are_needed(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_normal(tmp_path / "normal", 9)
    options = ["--images", str(tmp_path / "normal"), "--frame-fpr", "0.1", "--min-pixels", "1"]
    assert main(["calibrate", "--model", str(bundle), *options]) == 0
    said = capsys.readouterr().out
    assert "needs at least 9 normal frames; 9 were given" in said
    assert "at most 10 % of normal frames" in said
    after = manifest(bundle)
    perception = Perception.load(bundle)
    for path in sorted((tmp_path / "normal").iterdir()):
        result = perception.infer(Frame(read_image(path)))
        assert result.anomaly is not None
        assert result.anomaly.max() < after["thresholds"]["anomaly"]
    assert after["metrics"]["calibration_frame_fpr"] == 0.1


def test_a_data_set_of_classes_is_refused_once_and_says_how_normal_frames_are_given(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        image, ids = scene(40)
        write(tmp_path / "data" / "test" / f"{name}.png", image)
        write(tmp_path / "data" / "testannot" / f"{name}.png", ids)
    options = ["--dataset", "camvid", "--root", str(tmp_path / "data")]
    for rule in ([], ["--frame-fpr", "0.5"]):
        assert main(["calibrate", "--model", str(bundle), *options, *rule]) == 2
        said = capsys.readouterr().err
        assert "--dataset camvid: has classes only" in said
        assert "--images DIR and --frame-fpr RATE" in said
        assert "frames cannot be used" not in said


def test_frames_of_sequences_below_the_folder_count(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for drive in ("drive1", "drive2"):
        write_normal(tmp_path / "val" / drive, 5)
    assert main(["calibrate", "--model", str(bundle), "--images", str(tmp_path / "val"), "--frame-fpr", "0.1"]) == 0
    captured = capsys.readouterr()
    assert "needs at least 9 normal frames; 10 were given" in captured.out
    assert "10 images from the folders below it: drive1, drive2" in captured.err


def test_frames_below_a_folder_with_images_are_left_out_and_noted(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_normal(tmp_path / "val", 9)
    write_normal(tmp_path / "val" / "drive", 2)
    assert main(["calibrate", "--model", str(bundle), "--images", str(tmp_path / "val"), "--frame-fpr", "0.1"]) == 0
    captured = capsys.readouterr()
    assert "9 were given" in captured.out
    assert "has images itself, so 2 in the folders below it are left out: drive" in captured.err


def test_labelled_sequences_pair_by_their_paths(tmp_path: Path, bundle: Path) -> None:
    for drive, left in (("drive1", 16), ("drive2", 64)):
        image, ids = scene(left)
        write(tmp_path / "images" / drive / "a.png", image)
        write(tmp_path / "masks" / drive / "a_mask.png", (ids == 11).astype(np.uint8))
    options = ["--images", str(tmp_path / "images"), "--gt", str(tmp_path / "masks")]
    assert main(["calibrate", "--model", str(bundle), *options]) == 0
    assert manifest(bundle)["metrics"]["calibration_frames"] == 2


def test_too_few_normal_frames_change_nothing(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_normal(tmp_path / "normal", 3)
    before = manifest(bundle)
    options = ["--images", str(tmp_path / "normal"), "--frame-fpr", "0.01"]
    assert main(["calibrate", "--model", str(bundle), *options]) == 2
    assert "at least 99 are needed" in capsys.readouterr().err
    assert manifest(bundle) == before


def test_images_without_truth_need_a_rate(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_normal(tmp_path / "normal", 1)
    assert main(["calibrate", "--model", str(bundle), "--images", str(tmp_path / "normal")]) == 2
    assert "--frame-fpr" in capsys.readouterr().err


def test_a_truth_of_another_size_is_named(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "images" / "a.png", scene(40)[0])
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.zeros((5, 5), np.uint8))
    options = ["--images", str(tmp_path / "images"), "--gt", str(tmp_path / "masks")]
    assert main(["calibrate", "--model", str(bundle), *options]) == 2
    assert str(tmp_path / "images" / "a.png") in capsys.readouterr().err


def test_every_bad_frame_is_named_before_the_network_runs(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_normal(tmp_path / "normal", 4)
    for name in ("001.png", "003.png"):
        (tmp_path / "normal" / name).write_bytes(b"cut short")
    monkeypatch.setattr(Perception, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    options = ["--images", str(tmp_path / "normal"), "--frame-fpr", "0.5"]
    assert main(["calibrate", "--model", str(bundle), *options]) == 2
    said = capsys.readouterr().err
    assert "2 of 4 frames cannot be used" in said
    assert "001.png" in said
    assert "003.png" in said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--frame-fpr", "0.01"], "at least 99 are needed"),
        (["--gt", "{masks}", "--tpr", "95"], "expected a fraction"),
        (["--gt", "{masks}"], "nothing to calibrate on"),
    ],
)
def test_what_cannot_come_out_well_is_refused_before_the_network_runs(
    tmp_path: Path,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    named: str,
) -> None:
    write_normal(tmp_path / "normal", 3)
    (tmp_path / "masks").mkdir()
    for path in (tmp_path / "normal").iterdir():
        cv2.imwrite(str(tmp_path / "masks" / path.name), np.zeros(read_image(path).shape[:2], np.uint8))
    monkeypatch.setattr(Perception, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    given = [option.format(masks=tmp_path / "masks") for option in options]
    assert main(["calibrate", "--model", str(bundle), "--images", str(tmp_path / "normal"), *given]) == 2
    assert named in capsys.readouterr().err


def test_an_alarm_larger_than_the_image_is_refused(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_normal(tmp_path / "normal", 9)
    options = ["--images", str(tmp_path / "normal"), "--frame-fpr", "0.1", "--min-pixels", "999999999"]
    assert main(["calibrate", "--model", str(bundle), *options]) == 2
    assert "smaller --min-pixels" in capsys.readouterr().err


def labelled(tmp_path: Path) -> list[str]:
    image, ids = scene(40)
    write(tmp_path / "images" / "a.png", image)
    write(tmp_path / "masks" / "a.png", (ids == 11).astype(np.uint8))
    return ["--images", str(tmp_path / "images"), "--gt", str(tmp_path / "masks")]


def test_out_is_a_calibrated_copy_and_the_bundle_stays(tmp_path: Path, bundle: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    out = tmp_path / "mine"
    assert main(["calibrate", "--model", str(bundle), *labelled(tmp_path), "--out", str(out)]) == 0
    assert (bundle / "manifest.json").read_bytes() == before
    copy = load_bundle(out).manifest
    assert copy.name == "mine"
    assert copy.thresholds.anomaly != load_bundle(bundle).manifest.thresholds.anomaly
    # The same copy may be calibrated again.
    assert main(["calibrate", "--model", str(bundle), *labelled(tmp_path), "--tpr", "0.5", "--out", str(out)]) == 0
    assert load_bundle(out).manifest.thresholds.anomaly >= copy.thresholds.anomaly


def test_a_copy_takes_no_files_from_outside_of_the_bundle_but_the_graph_that_its_hash_names(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("a key")
    graph = load_bundle(bundle).onnx_path
    stored = graph.rename(tmp_path / "stored.onnx")
    for name, target in ((graph.name, stored), ("README.md", tmp_path / "secret"), ("NOTES.md", bundle / "LICENSE")):
        (bundle / name).unlink(missing_ok=True)
        (bundle / name).symlink_to(target)
    (bundle / "LICENSE").write_text("MIT")
    out = tmp_path / "mine"
    assert main(["calibrate", "--model", str(bundle), *labelled(tmp_path), "--out", str(out)]) == 0
    assert "README.md: is a link out of the bundle, not copied" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == {graph.name, "LICENSE", "NOTES.md", "manifest.json"}
    load_bundle(out)


def test_a_bundle_that_ships_is_changed_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = tmp_path / "engines"
    shipped = write_tiny_bundle(engines / "tiny", SIZE)
    monkeypatch.setattr("m2a_core.bundle.loading.engine_directories", lambda: (engines,))
    before = manifest(shipped)
    assert main(["calibrate", "--model", "tiny", *labelled(tmp_path)]) == 2
    assert "ships with m2a: give --out DIR" in capsys.readouterr().err
    assert manifest(shipped) == before
    assert main(["calibrate", "--model", "tiny", *labelled(tmp_path), "--in-place"]) == 0
    assert manifest(shipped) != before


def test_out_that_holds_something_else_is_refused(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    options = labelled(tmp_path)
    assert main(["calibrate", "--model", str(bundle), *options, "--out", str(tmp_path / "notes")]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert main(["calibrate", "--model", str(bundle), *options, "--out", str(bundle)]) == 2
    assert "is the bundle itself" in capsys.readouterr().err


def test_every_threshold_that_is_printed_is_stored_and_says_what_it_costs(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_normal(tmp_path / "normal", 12)
    options = [*labelled(tmp_path), "--normal", str(tmp_path / "normal"), "--alarms-per-minute", "10", "--fps", "2"]
    assert main(["calibrate", "--model", str(bundle), *options, "--min-pixels", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    stored = manifest(bundle)["thresholds"]
    for name in ("anomaly", "refined"):
        told = [line for line in lines if line.startswith(name)]
        assert told[0].startswith(f"{name:8s} threshold {stored[name]:.6g}:")
        now = [line for line in told if " now " in line]
        assert all(f"now    {stored[name]:.6g}: " in line for line in now)
        assert sum("before 0.5: " in line for line in told) == len(now) == 2
        assert any("of 1 objects found" in line for line in now)
    assert "false alarms in 0.10 minutes" in next(line for line in lines if line.startswith("refined"))
    metrics = manifest(bundle)["metrics"]
    assert (metrics["calibration_tpr"], metrics["calibration_alarms_per_minute"]) == (0.95, 10)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--alarms-per-minute", "1"], "--fps belong together"),
        (["--fps", "10"], "--fps belong together"),
        (["--alarms-per-minute", "1", "--fps", "10"], "at least 600 are needed"),
        (["--alarms-per-minute", "0", "--fps", "10"], "must be above 0"),
        (["--frame-fpr", "0.5", "--normal", "{normal}"], "--normal is for normal images beside labelled ones"),
        (["--gt", "{masks}", "--normal", "{normal}"], "--normal: also give --frame-fpr RATE"),
        (["--like", "no-such-model"], "no-such-model"),
        (["--frame-fpr", "0.5", "--tpr", "0.9"], "--tpr: only with labelled frames"),
        (["--gt", "{masks}", "--frame-fpr", "0.5", "--tpr", "0.9"], "--tpr: only with labelled frames"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    labelled(tmp_path)
    write_normal(tmp_path / "normal", 3)
    given = [option.format(masks=tmp_path / "masks", normal=tmp_path / "normal") for option in options]
    assert main(["calibrate", "--model", str(bundle), "--images", str(tmp_path / "images"), *given]) == 2
    assert named in capsys.readouterr().err
