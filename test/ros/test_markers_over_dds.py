"""Markers of a real node over DDS: where they stand, when they go, whose numbers they bear."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from visualization_msgs.msg import Marker, MarkerArray

from test.ros.dds_node import CAMERA, IN, OUT, RED_BOX, DdsNode
from test.ros.messages import camera_info, image, scene


@pytest.mark.parametrize("listening", [(f"{OUT}/unknown_markers", MarkerArray)], indirect=True)
@pytest.mark.parametrize("scale", [1, 2], ids=["calibrated in this size", "calibrated in twice the size"])
def test_markers_stand_on_the_ground_and_are_deleted_when_gone(dds_node: DdsNode, listening: str, scale: int) -> None:
    info = camera_info(scale * 128, scale * 96, focal=scale * 100.0)
    # The image's centre (64, 48) as the larger image counts its pixels.
    info.k[2], info.k[5] = scale * 64.5 - 0.5, scale * 48.5 - 0.5

    def markers_of(rgb: np.ndarray, action: int) -> list[Marker]:
        dds_node.player.play("/m2a/input/front/camera_info", [info])
        dds_node.player.play(IN, [image(rgb, dds_node.stamp())])
        arrays = dds_node.listener.received[listening]
        return [m for m in (arrays[-1].markers if arrays else []) if m.action == action]

    dds_node.listener.wait_for_outputs(listening)
    shown = dds_node.listener.spin_until(lambda: markers_of(scene(RED_BOX), Marker.ADD))
    by_kind = {marker.ns: marker for marker in shown}
    assert sorted(by_kind) == ["front/footprint", "front/label", "front/outline"]
    contact_x, contact_y = dds_node.expected(scene(RED_BOX)).instances[0].contact
    outline = by_kind["front/outline"]
    # By hand: the ray leaves at pitch + atan(v) below the horizon, from 1.5 m.
    down = 0.1 + np.arctan((contact_y - 48) / 100)
    distance = 1.5 / np.tan(down)
    assert outline.header.frame_id == "ground"
    assert outline.pose.position.z == 0
    assert outline.pose.position.x == pytest.approx(distance, rel=1e-6)
    slant = np.hypot(1.5, distance) * np.cos(down - 0.1)
    assert outline.pose.position.y == pytest.approx(-slant * (contact_x - 64) / 100, abs=1e-6)
    assert by_kind["front/label"].text.startswith(f"unknown {outline.id}  ")

    gone = dds_node.listener.spin_until(lambda: markers_of(scene(None), Marker.DELETE))
    assert {(m.ns, m.id) for m in gone} == {(m.ns, m.id) for m in shown}


@pytest.mark.parametrize("listening", [(f"{OUT}/unknown_markers", MarkerArray)], indirect=True)
@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (CameraInfo(width=128, height=96), "bad_camera_info"),
        (camera_info(128, 72, focal=100.0), "camera_info_of_other_aspect"),
    ],
    ids=["uncalibrated", "cropped"],
)
def test_calibration_that_says_nothing_gives_no_markers_and_a_warning(
    dds_node: DdsNode, listening: str, info: CameraInfo, reason: str
) -> None:
    key = f"without_markers.{reason}"

    def play_and_see(status: dict[str, str]) -> bool:
        dds_node.player.play("/m2a/input/front/camera_info", [info])
        dds_node.player.play(IN, [image(scene(RED_BOX), dds_node.stamp())])
        warned = int(status.get(key, 0)) > 0 and "camera_info" in status["message"]
        return warned and bool(dds_node.listener.received[listening])

    dds_node.listener.wait_for_outputs(listening)
    status = dds_node.listener.wait_for_status(CAMERA, play_and_see)
    assert status["level"] == "1"
    last = dds_node.listener.received[listening][-1]
    assert [m for m in last.markers if m.action == Marker.ADD] == []


@pytest.mark.parametrize("listening", [(f"{OUT}/unknown_markers", MarkerArray)], indirect=True)
def test_an_object_keeps_its_number_until_stamps_jump_back(dds_node: DdsNode, listening: str) -> None:
    dds_node.listener.wait_for_outputs(listening)
    shown: list[tuple[int, int]] = []

    def shown_at(stamp: int, x: int) -> bool:
        """Send one frame with the object at x; keep the number and x-position that its marker has."""
        dds_node.player.play("/m2a/input/front/camera_info", [camera_info(128, 96, focal=100.0)])
        message = image(scene((x, 64, x + 16, 80)), stamp)
        dds_node.player.play(IN, [message])
        arrays = dds_node.listener.received[listening]

        def labels() -> list[Marker]:
            found = [m for array in arrays for m in array.markers if m.header.stamp == message.header.stamp]
            return [m for m in found if m.ns == "front/label" and m.action == Marker.ADD]

        if dds_node.listener.spin_until(labels, timeout=2.0):
            shown.append((labels()[0].id, x))
        return len({x for _, x in shown}) >= 3

    there_and_back = [*range(40, 72, 4), *range(72, 40, -4)]
    positions = iter(there_and_back * 10)
    assert dds_node.listener.spin_until(lambda: shown_at(dds_node.stamp(), next(positions)))
    numbers = {number for number, _ in shown}
    assert len(numbers) == 1
    shown.clear()
    back = iter(range(10, 1000))
    assert dds_node.listener.spin_until(lambda: shown_at(next(back), next(positions)))
    assert {number for number, _ in shown}.isdisjoint(numbers)
    deleted = [
        m.id for array in dds_node.listener.received[listening] for m in array.markers if m.action == Marker.DELETE
    ]
    assert numbers <= set(deleted)
