"""Many bags on several workers: the same results as one after another, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from m2a_ros.replay.recorder import CHUNK_MESSAGES
from test.replay.bags import drive, raw, scene, write_bag
from test.replay.conftest import run_replay

pytestmark = pytest.mark.slow


def kill_one_worker(out: Path, names: list[str], killed: list[int], over: threading.Event) -> None:
    """Kill the first process that has finished a part of a bag but not the bag."""
    while not over.is_set():
        for name in names:
            lock = out / ".work" / f"{name}.lock"
            if (out / ".work" / name / "000000").is_dir() and lock.is_file() and (pid := lock.read_text().strip()):
                os.kill(int(pid), signal.SIGKILL)
                killed.append(int(pid))
                return
        time.sleep(0.002)


def comparable(out: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """All that must not depend on who evaluated what."""
    frames = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    return (
        [{key: value for key, value in frame.items() if key != "latencies_ms"} for frame in frames],
        {key: summary[key] for key in ("hash", "bags", "failed_bags")},
    )


@pytest.fixture(scope="module")
def bags(tmp_path_factory) -> list[Path]:
    """Long enough after the first part that the assassin finds its victim at work."""
    folder = tmp_path_factory.mktemp("bags")
    return [drive(folder / f"drive_{i}", CHUNK_MESSAGES + 60 + i) for i in range(2)]


@pytest.fixture(scope="module")
def alone(bags, tiny, tmp_path_factory):
    """What one process gives."""
    return comparable(run_replay(tiny, tmp_path_factory.mktemp("alone"), *bags).out)


@pytest.fixture(scope="module")
def ray_cluster():
    ray = pytest.importorskip("ray")
    from m2a_ros.replay import fleet_ray

    with pytest.MonkeyPatch.context() as patch:
        # A cluster of somebody else on this machine has other CPUs and other code.
        patch.setenv("RAY_ADDRESS", "local")
        fleet_ray.connect(2)
    yield
    ray.shutdown()


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_fleet_gives_what_one_process_gives_though_a_worker_is_killed(replay, tmp_path, bags, alone, executor, request):
    if executor == "ray":
        request.getfixturevalue("ray_cluster")
    killed, over = [], threading.Event()
    names = [bag.name for bag in bags]
    assassin = threading.Thread(target=kill_one_worker, args=(tmp_path / "out", names, killed, over), daemon=True)
    assassin.start()
    try:
        done = replay(*bags, "--executor", executor, "--workers", "2")
    finally:
        over.set()
        assassin.join()
    assert len(killed) == 1
    assert killed[0] != os.getpid()
    assert done.code == 0
    assert comparable(done.out) == alone
    assert (done.out / "drive_1" / "overlay_cam_front.webm").is_file()
    assert not (done.out / ".work").exists()


def test_a_bag_that_no_machine_of_the_cluster_has_the_cpus_for_is_an_error(replay, tmp_path, capsys, ray_cluster):
    assert replay(drive(tmp_path / "a", 1), "--executor", "ray", "--threads", "256").code == 2
    assert "a bag takes 256 CPUs" in capsys.readouterr().err


def test_a_cluster_that_does_not_start_in_time_is_started_again(monkeypatch):
    ray = pytest.importorskip("ray")
    from m2a_ros.replay import fleet_ray

    started = []

    def slow_at_first(address: str, **_: object) -> None:
        started.append(address)
        if len(started) < 3:
            raise Exception("The current node timed out during startup")  # as Ray does: of no narrower type

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray, "init", slow_at_first)
    fleet_ray.connect(None)
    assert started == ["local"] * 3


def test_a_cluster_that_never_starts_is_an_error_that_says_where_to_look(replay, tmp_path, capsys, monkeypatch):
    ray = pytest.importorskip("ray")

    def too_slow(**_: object) -> None:
        raise Exception("The current node timed out during startup")

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", too_slow)
    assert replay(drive(tmp_path / "a", 1), "--executor", "ray").code == 2
    said = capsys.readouterr().err
    assert "timed out during startup" in said
    assert "raylet.err" in said


def test_a_cluster_that_was_named_and_is_not_there_is_an_error_and_none_is_started(
    replay, tmp_path, capsys, monkeypatch
):
    ray = pytest.importorskip("ray")
    asked = []

    def nobody_there(address: str, **_: object) -> None:
        asked.append(address)
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", nobody_there)
    assert replay(drive(tmp_path / "a", 1), "--executor", "ray").code == 2
    assert "RAY_ADDRESS=10.0.0.1:6379" in capsys.readouterr().err
    assert asked == ["auto"]


def test_bag_that_cannot_be_evaluated_is_reported_and_only_it_is_done_again(replay, tmp_path, capsys):
    good, bad = drive(tmp_path / "good", 3), drive(tmp_path / "bad", 6)
    file = bad / "bad.mcap"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    done = replay(good, bad, "--workers", "2")
    assert done.code == 1
    assert len(done.frames) == 3
    (failed,) = done.summary["failed_bags"]
    assert failed["path"] == str(bad)
    assert f"NOT evaluated: bag {bad}" in capsys.readouterr().out
    written = (done.out / "good" / "result.json").stat().st_mtime_ns
    file.write_bytes(whole)
    again = replay(good, bad, "--workers", "2")
    assert (again.code, len(again.frames), again.summary["failed_bags"]) == (0, 9, [])
    assert (again.out / "good" / "result.json").stat().st_mtime_ns == written


def test_finished_bag_that_has_changed_is_refused(replay, tmp_path, capsys):
    good, bad = drive(tmp_path / "good", 2), drive(tmp_path / "bad", 2)
    (bad / "bad.mcap").write_bytes(b"")
    assert replay(good, bad).code == 1
    (good / "good.mcap").unlink()
    (good / "metadata.yaml").unlink()
    good.rmdir()
    write_bag(good, [raw(scene(40), i) for i in range(2)])
    assert replay(good, bad).code == 2
    assert "has changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "mode", "word"),
    [
        (("--workers", "0"), "offline", "--workers 0"),
        (("--workers", "2"), "lockstep", "one bag after another"),
        (("--executor", "ray"), "peak", "one bag after another"),
        (("--rate", "0"), "realtime", "--rate 0"),
        (("--trial-frames", "20"), "peak", "--trial-frames 20"),
        (("--gt", "truth"), "peak", "leave out --gt"),
        (("--gt-topic", "/labels"), "peak", "leave out --gt"),
    ],
)
def test_settings_that_make_no_sense_are_errors(replay, tmp_path, capsys, arguments, mode, word):
    assert replay(drive(tmp_path / "a", 1), *arguments, mode=mode).code == 2
    assert word in capsys.readouterr().err
