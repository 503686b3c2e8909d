"""Disks around a node: full ones are told, with what no longer works."""

from __future__ import annotations

from pathlib import Path

from m2a_ros.node.surroundings import LEAST_FREE, full_disks, written_to


def test_a_full_disk_is_named_with_what_is_lost(tmp_path):
    (said,) = full_disks([(tmp_path, "logs are lost")], least=1 << 62)
    assert said.startswith(f"{tmp_path}: ")
    assert "logs are lost" in said


def test_a_disk_with_room_and_a_folder_that_is_not_there_are_no_problem(tmp_path):
    assert full_disks([(tmp_path, "x"), (tmp_path / "missing", "y")], least=0) == []
    assert LEAST_FREE > 0


def test_logs_go_where_ros_puts_them():
    assert written_to({"ROS_LOG_DIR": "/a", "ROS_HOME": "/b"})[0][0] == Path("/a")
    assert written_to({"ROS_HOME": "/b"})[0][0] == Path("/b/log")
