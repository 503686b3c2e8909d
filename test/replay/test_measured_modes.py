"""m2a replay --mode realtime and peak, with a parameter file: every image is accounted for, the rate is found."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import yaml

from m2a_ros.process.memory import MemoryWatch
from m2a_ros.replay import node_session
from m2a_ros.replay.peak import MAX_LOSS, RESOLUTION, search
from test.replay.bags import START, raw, scene, write_bag
from test.replay.test_params_file import params_file
from test.review.bags_with_truth import camera_info


@pytest.mark.dds
def test_realtime_accounts_for_every_image_and_its_answers_are_the_models(replay, tmp_path, capsys):
    images = [raw(scene(4 * i), i) for i in range(12)]
    # A loop at the end, a pause of an hour before it, an unknown encoding, a message cut off.
    images += [replace(raw(scene(0), 12), data=raw(scene(0), 12).data.replace(b"rgb8", b"rgbx"))]
    images += [replace(raw(scene(0), 13), data=raw(scene(0), 13).data[:-100])]
    images += [raw(scene(0), 90_000, stamp=START)]
    calibrations = [camera_info(number=i, distortion=(-0.2, 0.05, 0.0, 0.0, 0.0)) for i in (*range(14), 90_000)]
    bag = write_bag(tmp_path / "drive", sorted([*calibrations, *images], key=lambda message: message.time))
    file = params_file(tmp_path / "p.yaml", cameras=["left"], camera={"left": {"rectify": True}})
    done = replay(bag, "--params-file", file, "--rate", "2.5", mode="realtime")
    assert done.code == 0
    result = json.loads((done.out / "drive" / "result.json").read_text())
    assert list(result["topics"].values()) == ["left"]
    node = yaml.safe_load((done.out / "drive" / "node" / "node.param.yaml").read_text())
    assert node["/**"]["ros__parameters"]["camera"]["left"]["rectify"] is True
    figures = done.summary["bags"][0]["realtime"]
    assert figures["sent"] == 14
    assert figures["answered"] + sum(figures["lost"].values()) == 14
    assert min(figures["lost"].values()) > 0
    assert not any(reason.startswith("not_rectified") for reason in figures["lost"])
    assert figures["lost"].get("bad_image.unknown_encoding", 0) + figures["lost"].get("on_the_way", 0) >= 1
    assert figures["gaps_shortened"] == 1
    # 0.04 s between images, played faster; the pause counts as 5 s.
    assert figures["seconds"] > (11 * 0.04 + 5) / 2.5
    assert figures["stamps_ambiguous"] == 2
    assert len(done.frames) == figures["answered"] > 0
    assert sorted(problem["reason"] for problem in done.problems) == (
        ["bad_message"] + ["not_answered"] * (14 - figures["answered"])
    )
    assert figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"] <= figures["latency_ms"]["p99"]
    assert figures["age_ms"]["max"] > 0
    assert figures["memory"]["samples"] > 5
    by_stamp = {frame["stamp_ns"]: frame for frame in replay(bag, "--params-file", file, out="offline").frames}
    for frame in done.frames:
        assert frame["unknown_instances"] == by_stamp[frame["stamp_ns"]]["unknown_instances"]
    assert "images answered at pace 2.5; lost:" in capsys.readouterr().out


@pytest.mark.dds
def test_peak_finds_a_rate_that_the_node_bears(replay, tmp_path, monkeypatch):
    monkeypatch.setattr(node_session, "MISSING_S", 0.5)
    bag = write_bag(tmp_path / "drive", [raw(scene(4 * i), i) for i in range(4)])
    file = params_file(tmp_path / "p.yaml", cameras=["left"], camera={"left": {"crop": True}})
    done = replay(bag, "--params-file", file, "--trial-frames", "21", "--repeats", "1", mode="peak")
    assert done.code == 0
    node = yaml.safe_load((done.out / "drive" / "node" / "node.param.yaml").read_text())
    assert node["/**"]["ros__parameters"]["camera"]["left"]["crop"] is True
    figures = done.summary["bags"][0]["peak"]
    assert 0 < figures["hz"]["min"] <= figures["hz"]["median"] <= figures["hz"]["max"]
    (repeat,) = figures["repeats"]
    good = [trial for trial in repeat["trials"] if trial["loss"] < MAX_LOSS]
    assert max(trial["reached_hz"] for trial in good) >= figures["hz"]["max"]
    for trial in repeat["trials"]:
        assert trial["sent"] == 21
        assert trial["answered"] + sum(trial["lost"].values()) == 21
    report = (done.out / "report.html").read_text()
    assert report.count(" of 21</td>") == len(repeat["trials"])
    assert "trial_frames 21, repeats 1<" in report
    assert "No unknown object" not in report
    assert done.summary["hash"] is None, "there are no frames, and a hash of nothing looks like one"


@pytest.mark.parametrize("guess", [3.0, 30.0, 300.0])
def test_search_ends_within_its_resolution_of_the_true_limit(guess):
    peak, trials = search(lambda rate: {"loss": 0.0 if rate <= 40 else 0.5, "reached_hz": rate}, guess)
    assert 40 / RESOLUTION <= peak <= 40
    assert len(trials) < 20


def test_search_takes_a_rate_that_the_player_did_not_reach_for_none():
    peak, _ = search(lambda rate: {"loss": 0.0, "reached_hz": min(rate, 100.0)}, 30.0)
    assert 90 <= peak <= 100


def test_search_says_zero_where_every_rate_loses():
    peak, trials = search(lambda rate: {"loss": 1.0, "reached_hz": rate}, 10.0)
    assert (peak, len(trials)) == (0.0, 40)


def test_memory_slope_is_that_of_a_straight_line():
    watch = MemoryWatch(0)
    watch.samples += [(float(i), 100 + 0.5 * i) for i in range(21)]
    summary = watch.summary()
    assert (summary["first_mib"], summary["last_mib"], summary["max_mib"]) == (100.0, 110.0, 110.0)
    assert summary["slope_mib_per_hour"] == pytest.approx(1800, abs=0.1)


def test_memory_watch_samples_its_own_process():
    watch = MemoryWatch(os.getpid())
    watch.sample()
    watch.sample()
    summary = watch.summary()
    assert summary["samples"] == 1
    assert 10 < summary["last_mib"] < 10_000
    assert summary["slope_mib_per_hour"] is None
