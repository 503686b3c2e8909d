"""Warnings of several cameras: each is heard, none floods."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from m2a_core.errors import DataError
from m2a_ros.node import camera_log
from m2a_ros.node.camera_log import PERIOD_S, CameraLog


def test_cameras_do_not_mute_each_other_and_repeat_themselves_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [100.0], []
    monkeypatch.setattr(camera_log.time, "monotonic", lambda: now[0])
    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(warning=lines.append))
    logs = {camera: CameraLog(node, camera) for camera in ("front", "rear")}  # type: ignore[arg-type]
    for _ in range(3):
        for log in logs.values():
            log.warn(DataError("no transform"))
        now[0] += 0.4 * PERIOD_S
    assert lines == ["camera 'front': no transform", "camera 'rear': no transform"]
    now[0] += 0.4 * PERIOD_S
    logs["rear"].warn(DataError("still none"))
    assert lines[2:] == ["camera 'rear': still none"]
