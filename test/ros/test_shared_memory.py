"""Shared memory that killed processes left: found by Fast DDS's own locks, removed, never a living one's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from m2a_core.doctor.findings import Level
from m2a_ros.process import ros_checks
from m2a_ros.process.dds import local_environment
from m2a_ros.process.shared_memory import SHARED_MEMORY, left_segments, remove_left_segments

PARTICIPANT = "import rclpy; rclpy.init(); node = rclpy.create_node('killed'); print('up', flush=True); input()"


def write_segment(folder: Path, digit: str, age_s: float = 60.0) -> Path:
    segment = folder / f"fastdds_{digit * 16}"
    segment.write_bytes(bytes(1000))
    lock = Path(f"{segment}_el")
    lock.touch()
    os.utime(lock, (lock.stat().st_mtime - age_s,) * 2)
    return segment


def segments() -> set[Path]:
    found = {path for path in SHARED_MEMORY.glob("fastdds_*") if path.with_name(f"{path.name}_el").exists()}
    return {path for path in found if "port" not in path.name}


def test_only_segments_that_nobody_holds_and_that_are_not_just_made_are_removed(tmp_path: Path) -> None:
    left, held, new = write_segment(tmp_path, "1"), write_segment(tmp_path, "2"), write_segment(tmp_path, "3", 0.0)
    others = [tmp_path / name for name in ("fastdds_port7001", "fastdds_port7001_el", "fastdds_4444", "notes")]
    for path in others:
        path.touch()
    with Path(f"{held}_el").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert left_segments(tmp_path) == {left: 1000}
        assert remove_left_segments(tmp_path) == 1000
    assert not left.exists()
    assert not Path(f"{left}_el").exists()
    assert all(path.exists() for path in (held, new, *others))


def test_a_link_in_place_of_a_lock_leads_nowhere(tmp_path: Path) -> None:
    segment = write_segment(tmp_path, "1")
    target = tmp_path / "elsewhere"
    Path(f"{segment}_el").rename(target)
    Path(f"{segment}_el").symlink_to(target)
    assert remove_left_segments(tmp_path) == 0
    assert target.exists()


def test_doctor_names_what_killed_processes_hold(tmp_path: Path) -> None:
    write_segment(tmp_path, "1")
    free, left = ros_checks.check_shared_memory(tmp_path)
    assert free.level is Level.OK
    assert left.level is Level.NOTE
    assert "left by killed processes" in left.text


def test_fast_dds_names_and_locks_its_segments_as_assumed(domain: int) -> None:
    environment = {**os.environ, **local_environment(os.environ), "ROS_DOMAIN_ID": str(domain)}
    before = segments()
    with subprocess.Popen(
        [sys.executable, "-c", PARTICIPANT], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        own = {path for path in segments() - before if f"/{path.name}" in maps}
        assert own, "the participant has no segment in shared memory"
        for path in own:
            lock = Path(f"{path}_el")
            os.utime(lock, (lock.stat().st_mtime - 60,) * 2)
        assert not own & set(left_segments())
        process.kill()
    # Another test's node that starts now may remove them, too.
    assert {path for path in own if path.exists()} <= set(left_segments())
    remove_left_segments()
    assert not any(path.exists() for path in own)
