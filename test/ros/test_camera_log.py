"""Warnings of several cameras: each is heard, none floods."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from m2a_core.errors import DataError
from m2a_ros.node.camera_log import PERIOD_S, CameraLog
from m2a_ros.process.statistics import CameraStatistics


def test_cameras_do_not_mute_each_other_and_repeat_themselves_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [100.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(warning=lines.append))
    logs = {camera: CameraLog(node, camera) for camera in ("front", "rear")}
    for _ in range(3):
        for log in logs.values():
            log.warn(DataError("no transform"))
        now[0] += 0.4 * PERIOD_S
    assert lines == ["camera 'front': no transform", "camera 'rear': no transform"]
    now[0] += 0.4 * PERIOD_S
    logs["rear"].warn(DataError("still none"))
    assert lines[2:] == ["camera 'rear': still none"]


def test_nothing_from_outside_forges_a_line_or_fills_the_log() -> None:
    lines: list[str] = []
    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(warning=lines.append))
    CameraLog(node, "front").warn(DataError("bad\n[ERROR] forged \x1b[2J" + "x" * 8_000_000))
    (line,) = lines
    assert line.startswith(r"camera 'front': bad\n[ERROR] forged \x1b[2Jxxx")
    assert len(line) < 1100


def test_error_in_the_statistics_is_one_short_line() -> None:
    statistics = CameraStatistics()
    statistics.dropped("bad_image.unknown_encoding", "a\r\nb\x85" + "y" * 8_000_000)
    error = statistics.snapshot().last_error
    assert error.startswith(r"a\r\nb\x85yyy")
    assert len(error) < 1100
