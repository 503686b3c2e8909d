"""m2a harvest, from bags to the gallery."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import NO_CLUSTER
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_ros.main import main
from test.harvest.replays import KINDS, drive_past, replayed, road
from test.replay.bags import raw, write_bag
from test.tiny_bundle import write_tiny_bundle


def harvest(out: Path, *arguments: object) -> int:
    return main(["harvest", *map(str, arguments), "--threads", "1", "--min-cluster", "3", "--out", str(out)])


def content(folder: Path) -> dict[str, bytes]:
    """Every file that must not depend on who made it."""
    names = [p for pattern in ("objects.parquet", "crops/*/*", "frames/*/*") for p in folder.glob(pattern)]
    return {str(p.relative_to(folder)): p.read_bytes() for p in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, replay_out):
    """A harvest of both drives."""
    out = tmp_path_factory.mktemp("harvest") / "whole"
    assert harvest(out, replay_out, "--keep-frames") == 0
    return Harvest.open(out)


@pytest.mark.slow
def test_every_object_is_a_record_with_its_pictures(whole):
    records = list(whole.records())
    assert len(records) == 18
    assert [r.id for r in records] == sorted(r.id for r in records)
    assert {r.bag for r in records} == {"drive_0", "drive_1"}
    for r in records:
        crop, mask = cv2.imread(str(whole.path(r.crop))), cv2.imread(str(whole.path(r.mask)), cv2.IMREAD_UNCHANGED)
        assert crop.shape[:2] == mask.shape
        assert set(np.unique(mask)) == {0, 255}
        # The mask is the red thing, in OpenCV's order of channels, to a cell of the network's masks.
        assert (crop[mask == 255][:, 2] == 255).mean() > 0.7
        full = coco.decode({"size": [r.image_height, r.image_width], "counts": r.full_mask.encode()})
        (x, y), (height, width) = r.crop_origin, mask.shape
        assert np.array_equal(full[y : y + height, x : x + width] * 255, mask)
        assert full.sum() == np.count_nonzero(mask)
        x0, y0, x1, y1 = r.box
        assert full[y0:y1, x0:x1].sum() == full.sum()
        frame = cv2.imread(str(whole.path(r.frame)))
        assert frame.shape[:2] == (r.image_height, r.image_width) == (96, 128)
        assert r.frames >= 3
        assert 0.5 < r.score_mean <= r.score_max <= 1
        assert len(r.crops) == len(r.masks) == len(r.classes) == 3


def test_objects_of_one_kind_are_one_cluster(whole):
    kinds = list(KINDS)
    order: dict[str, list] = {"drive_0": [], "drive_1": []}
    for r in sorted(whole.records(), key=lambda r: r.first_stamp_ns):
        order[r.bag].append(r)
    found = {kind: set() for kind in kinds}
    for records in order.values():
        for number, r in enumerate(records):
            found[kinds[number % 3]].add(r.cluster)
    assert all(len(clusters) == 1 and NO_CLUSTER not in clusters for clusters in found.values())
    assert len(set.union(*found.values())) == 3


def test_info_says_what_the_harvest_is_of(whole, tiny):
    info = json.loads((whole.folder / "harvest.json").read_text())
    assert info["counts"] == {"records": 18, "duplicates": 0, "clusters": 3}
    assert info["model"]["name"] == "tiny"
    assert [bag["name"] for bag in info["bags"]] == ["drive_0", "drive_1"]
    assert info["harvest"] == whole.hash


@pytest.mark.slow
def test_bags_and_workers_in_any_order_give_the_same(whole, drives, tiny, tmp_path):
    """Bags replayed by the harvest itself, the second of them in a later call, by other processes."""
    out = tmp_path / "other"
    arguments = ("--model", tiny, "--keep-frames", "--workers", "2")
    assert harvest(out, drives[1], *arguments) == 0
    assert harvest(out, drives[1], drives[0], *arguments) == 0
    assert content(out) == content(whole.folder)
    assert Harvest.open(out).hash == whole.hash


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(whole, replay_out, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    # Not the cluster of another test, which ends it; and a busy machine takes longer to start one than Ray thinks.
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "200")
    assert harvest(tmp_path / "ray", replay_out, "--keep-frames", "--executor", "ray", "--workers", "2") == 0
    assert content(tmp_path / "ray") == content(whole.folder)
    assert Harvest.open(tmp_path / "ray").hash == whole.hash


def test_finished_bags_are_not_harvested_again(whole, replay_out, capsys):
    files = {p: p.stat().st_mtime_ns for p in (whole.folder / "bags").iterdir()}
    before = content(whole.folder)
    assert harvest(whole.folder, replay_out, "--keep-frames") == 0
    assert {p: p.stat().st_mtime_ns for p in (whole.folder / "bags").iterdir()} == files
    assert content(whole.folder) == before
    assert "18 unknown objects in 2 bags" in capsys.readouterr().out


def test_killed_bag_is_begun_again(replay_out, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole.folder, out)
    next((out / "bags").iterdir()).unlink()
    (out / "harvest.json").unlink()
    assert harvest(out, replay_out, "--keep-frames") == 0
    assert (out / "objects.parquet").read_bytes() == whole.objects.read_bytes()


@pytest.mark.slow
def test_bag_of_nothing_unknown_gives_an_empty_harvest(tiny, tmp_path, capsys):
    bag = write_bag(tmp_path / "plain", [raw(road(), n) for n in range(3)])
    assert harvest(tmp_path / "out", bag, "--model", tiny) == 0
    assert "0 unknown objects in 1 bag;" in capsys.readouterr().out
    assert list(Harvest.open(tmp_path / "out").records()) == []


def refused(capsys, out, *arguments):
    assert harvest(out, *arguments) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_replay_that_is_not_finished_is_named(replay_out, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(replay_out, copy)
    (copy / "summary.json").unlink()
    assert "the replay is not finished" in refused(capsys, tmp_path / "out", copy)


def test_replay_without_its_results_is_named(replay_out, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(replay_out, copy)
    shutil.rmtree(copy / "drive_0" / "bag")
    assert f"{copy / 'drive_0'}: the bag of results is gone" in refused(capsys, tmp_path / "out", copy)


def test_replay_that_names_results_elsewhere_is_refused(replay_out, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(replay_out, copy)
    summary = (copy / "summary.json").read_text()
    (copy / "summary.json").write_text(summary.replace('"name": "drive_0"', '"name": "../replay/drive_0"'))
    assert "summary.json: '../replay/drive_0' is no path below its folder" in refused(capsys, tmp_path / "out", copy)


@pytest.mark.slow
def test_bag_that_is_gone_or_has_changed_is_reported_and_the_other_harvested(tiny, tmp_path, capsys):
    bags = [drive_past(tmp_path / f"own_{n}", ["wide red"] * 2) for n in range(3)]
    out = replayed(tmp_path / "replay", bags, tiny)
    shutil.rmtree(bags[0])
    with next(bags[1].glob("*.mcap")).open("ab") as file:
        file.write(b"\0")
    assert harvest(tmp_path / "out", out) == 1
    said = capsys.readouterr().out
    assert f"NOT harvested: bag {bags[0]}: is gone" in said
    assert f"NOT harvested: bag {bags[1]}: has changed" in said
    assert "2 unknown objects in 1 bag;" in said


def test_bags_of_two_models_are_refused(replay_out, tmp_path, capsys):
    other = write_tiny_bundle(tmp_path / "other", labels=CITYSCAPES19, name="other")
    out = replayed(tmp_path / "replay", [drive_past(tmp_path / "own", ["wide red"])], other)
    said = refused(capsys, tmp_path / "out", replay_out, out)
    assert "'tiny'" in said
    assert "'other'" in said


def test_source_given_twice_and_folder_that_is_no_bag_are_named(replay_out, tmp_path, capsys):
    assert "is given twice" in refused(capsys, tmp_path / "out", replay_out, replay_out)
    (tmp_path / "folder").mkdir()
    said = refused(capsys, tmp_path / "out", tmp_path / "folder")
    assert f"{tmp_path / 'folder'}: holds neither results of `m2a replay --out` (run.json) nor a bag" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--min-cluster", "1"], "--min-cluster 1"),
        (["--workers", "0"], "--workers 0"),
        (["--blur", "faces"], "--blur faces"),
        (["--encoder", "missing.onnx"], "--encoder missing.onnx"),
    ],
)
def test_bad_options_are_named(replay_out, tmp_path, capsys, option, said):
    assert main(["harvest", str(replay_out), "--out", str(tmp_path / "out"), *option]) == 2
    assert said in capsys.readouterr().err
