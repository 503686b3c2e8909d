"""m2a replay --params-file: what the node's parameter file says holds in every mode (also: test_measured_modes)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from m2a_ros.parameters.file import read_parameters
from test.replay.bags import raw, scene, write_bag
from test.review.bags_with_truth import camera_info


def calibrated_bag(path: Path, frames: int = 4, distortion: tuple[float, ...] = (0.0,) * 5) -> Path:
    messages = [m for i in range(frames) for m in (camera_info(number=i, distortion=distortion), raw(scene(4 * i), i))]
    return write_bag(path, messages)


def params_file(path: Path, node: str = "/**", **parameters: Any) -> Path:
    path.write_text(yaml.safe_dump({node: {"ros__parameters": parameters}}))
    return path


def published(out: Path, topic: str) -> np.ndarray:
    with AnyReader([out / "drive" / "bag"]) as reader:
        connection = next(c for c in reader.connections if c.topic == topic)
        message: Any = reader.deserialize(next(iter(reader.messages([connection])))[2], connection.msgtype)
    return message.data.reshape(message.height, message.width)


@pytest.mark.dds
def test_crop_rectify_thresholds_mounting_and_cameras_give_the_same_in_offline_and_lockstep(replay, tmp_path):
    bag = calibrated_bag(tmp_path / "drive", distortion=(-0.2, 0.05, 0.0, 0.0, 0.0))
    file = params_file(
        tmp_path / "p.yaml",
        cameras=["left"],
        camera={"left": {"crop": True, "rectify": True}},
        mounting={"left": {"height": 1.2, "pitch": 0.1}},
        thresholds={"anomaly": 0.9},
        tracking={"min_hits": 1},
    )
    offline = replay(bag, "--params-file", file, out="offline")
    lockstep = replay(bag, "--params-file", file, out="lockstep", mode="lockstep")
    plain = replay(bag, out="plain")
    assert (offline.code, lockstep.code) == (0, 0)
    assert offline.hashes == lockstep.hashes
    assert set(offline.hashes).isdisjoint(plain.hashes)
    assert {frame["camera"] for frame in offline.frames} == {"left"}
    assert offline.summary["thresholds"]["anomaly"] == 0.9


@pytest.mark.slow
def test_a_threshold_decides_what_is_unknown(replay, tmp_path):
    bag = calibrated_bag(tmp_path / "drive")
    masks = {}
    for threshold in (0.5, 1.0):
        file = params_file(tmp_path / f"{threshold}.yaml", thresholds={"anomaly": threshold})
        done = replay(bag, "--params-file", file, out=f"out{threshold}")
        masks[threshold] = published(done.out, "/m2a/output/cam_front/open_set_mask")
    assert (masks[0.5] != masks[1.0]).any()


@pytest.mark.parametrize("mode", ["offline", pytest.param("lockstep", marks=pytest.mark.dds)])
@pytest.mark.parametrize("number", [0, 1], ids=["the first", "a later one"])
def test_a_calibration_that_cannot_be_decoded_costs_no_image(replay, tmp_path, mode, number):
    messages = [m for i in range(3) for m in (camera_info(number=i), raw(scene(4 * i), i))]
    sound = messages[2 * number]
    messages[2 * number] = replace(sound, data=sound.data[:60])
    file = params_file(tmp_path / "p.yaml", camera={"cam_front": {"rectify": True}})
    done = replay(write_bag(tmp_path / "drive", messages), "--params-file", file, mode=mode)
    assert (done.code, len(done.frames), done.problems) == (0, 3, [])


def test_rectify_without_a_calibration_is_a_problem_of_each_image(replay, tmp_path):
    bag = write_bag(tmp_path / "drive", [raw(scene(0), i) for i in range(2)])
    file = params_file(tmp_path / "p.yaml", camera={"cam_front": {"rectify": True}})
    done = replay(bag, "--params-file", file)
    assert done.code == 1
    assert [problem["reason"] for problem in done.problems] == ["not_rectified.no_camera_info"] * 2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"thresholds": {"anomalie": 0.5}}, ["thresholds.anomalie", "thresholds.anomaly"]),
        ({"thresholds": {"anomaly": 1}}, ["thresholds.anomaly", "1", "number with a decimal point"]),
        ({"depth_tolerance": -1.0}, ["depth_tolerance", "-1.0"]),
        ({"cameras": ["left", "right"]}, ["left", "right", "/cam/front/image_raw", "--topic"]),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(replay, tmp_path, capsys, parameters, words):
    bag = calibrated_bag(tmp_path / "drive", frames=1)
    assert replay(bag, "--params-file", params_file(tmp_path / "p.yaml", **parameters)).code == 2
    error = capsys.readouterr().err
    assert all(word in error for word in ["p.yaml", *words]), error


def test_only_the_node_s_own_parameters_are_read(replay, tmp_path):
    bag = calibrated_bag(tmp_path / "drive", frames=1)
    file = tmp_path / "p.yaml"
    other = {"ros__parameters": {"cameras": ["one", "two"], "rate": 3}}
    file.write_text(yaml.safe_dump({"driver": other, "/car": {"m2a": {"ros__parameters": {"cameras": ["left"]}}}}))
    done = replay(bag, "--params-file", file)
    assert {frame["camera"] for frame in done.frames} == {"left"}


@pytest.mark.slow
def test_a_killed_replay_goes_on_only_with_the_same_parameters(replay, tmp_path, capsys):
    bag = calibrated_bag(tmp_path / "drive", frames=1)
    replay(bag, "--params-file", params_file(tmp_path / "p.yaml", ground_z=0.0))
    assert replay(bag, "--params-file", params_file(tmp_path / "p.yaml", ground_z=0.1)).code == 2
    assert "parameters" in capsys.readouterr().err


def test_old_names_are_read_as_the_present_ones_which_win(tmp_path, caplog):
    file = params_file(tmp_path / "p.yaml", tracking={"confirm_frames": 4, "keep_frames": 7, "max_age": 8})
    assert read_parameters(file) == {"tracking.min_hits": 4, "tracking.max_age": 8}
    assert [name for name in ("min_hits", "max_age") if f"use 'tracking.{name}'" in caplog.text] == [
        "min_hits",
        "max_age",
    ]
    assert str(file) in caplog.text
