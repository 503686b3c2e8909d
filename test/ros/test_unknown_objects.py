"""Numbers in maps, markers and detections are the same; what is missing is counted; without the network and DDS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.geometry.depth import DepthBuffer
from m2a_core.openset.panoptic import draw_unknown
from m2a_core.tracking.tracker import TrackerConfig, panoptic_instance
from m2a_core.types import OpenSetResult, UnknownInstance
from m2a_ros.camera.extrinsics import NoTransform, ParameterExtrinsics
from m2a_ros.node import unknown_objects
from m2a_ros.node.unknown_objects import Scene, UnknownObjects
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.statistics import CameraStatistics
from test.ros.messages import camera_info, header

SETTINGS = Settings.from_values({spec.name: spec.default for spec in all_parameters(["front"])})
UNKNOWN = 11
INFO = camera_info(640, 480, 500.0)
Box = tuple[int, int, int, int]


class Outputs:
    """Keeps what would be published."""

    def __init__(self, markers: bool = True, detections: bool = True) -> None:
        self.heard = {"markers": markers, "detections": detections}
        self.markers: list[MarkerArray] = []
        self.detections: list[Any] = []

    def wants_markers(self) -> bool:
        return self.heard["markers"]

    def wants_detections(self) -> bool:
        return self.heard["detections"]

    def publish_markers(self, markers: MarkerArray) -> None:
        self.markers.append(markers)

    def publish_detections(self, detections: Any) -> None:
        self.detections.append(detections)


class Logger:
    def warning(self, text: str, **_: Any) -> None:
        self.last = text


class Node:
    """What of a node is used."""

    def __init__(self) -> None:
        self.logger = Logger()

    def get_logger(self) -> Logger:
        return self.logger


class Site:
    """One camera's objects, fed frame by frame."""

    def __init__(self, outputs: Outputs | None = None, extrinsics: Any = None, **settings: Any) -> None:
        self.outputs, self.statistics, self.node = outputs or Outputs(), CameraStatistics(), Node()
        self.settings = replace(SETTINGS, **settings)
        self.depth = DepthBuffer()
        self.objects = UnknownObjects(
            self.node, "front", self.outputs, self.statistics, extrinsics or ParameterExtrinsics(), self.settings  # type: ignore[arg-type]
        )  # fmt: skip
        self.second = 10

    def see(self, *boxes: Box, info: CameraInfo | None = INFO, weak: tuple[Box, ...] = ()) -> OpenSetResult:
        self.second += 1
        scene = Scene(header(self.second), info, (360, 480), UNKNOWN, self.settings)
        candidates = result_of(*weak)
        result = replace(result_of(*boxes), candidates=candidates.instances, candidate_map=candidates.unknown_instances)
        return self.objects.follow(result, scene, self.depth)

    def shown(self) -> dict[int, Marker]:
        return {m.id: m for m in self.outputs.markers[-1].markers if m.ns == "front/label" and m.action == Marker.ADD}


def result_of(*boxes: Box) -> OpenSetResult:
    ids = np.zeros((480, 640), np.uint16)
    instances = []
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        ids[y0:y1, x0:x1] = number
        contour = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.int32)
        contact = ((x0 + x1 - 1) / 2, y1 - 1.0)
        instances.append(UnknownInstance(number, 1 - number / 10, 1, (x0, y0, x1, y1), contour, contact))
    panoptic = np.zeros((480, 640), np.int32)
    draw_unknown(panoptic, ids, UNKNOWN)
    return OpenSetResult(panoptic=panoptic, unknown_instances=ids, instances=tuple(instances))


@pytest.fixture(autouse=True)
def detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detections as plain tuples: vision_msgs is tested in test_detections."""
    monkeypatch.setattr(unknown_objects, "detections_message", lambda *given: given)


LEFT, RIGHT = (200, 250, 240, 330), (400, 260, 440, 340)


def test_map_panoptic_markers_and_detections_tell_the_same_number() -> None:
    site = Site()
    site.see(LEFT, RIGHT)
    site.see(LEFT, RIGHT)
    # The order of scores changes, so that a frame's own numbers swap.
    result = site.see(RIGHT, LEFT)
    assert result.unknown_instances is not None
    assert result.panoptic is not None
    at_left, at_right = result.unknown_instances[300, 220], result.unknown_instances[300, 420]
    assert (at_left, at_right) == (1, 2)
    assert result.panoptic[300, 220] == UNKNOWN * 256 + panoptic_instance(1)
    assert result.panoptic[300, 420] == UNKNOWN * 256 + panoptic_instance(2)
    shown = site.shown()
    assert shown[1].pose.position.y > shown[2].pose.position.y
    _, objects, _ = site.outputs.detections[-1]
    assert {instance.id: instance.bbox for instance, _ in objects} == {1: LEFT, 2: RIGHT}
    assert [instance.id for instance in result.instances] == [2, 1]


def test_maps_have_the_number_from_the_first_frame_and_markers_from_the_confirming_one() -> None:
    site = Site(tracking=TrackerConfig(confirm_frames=3))
    for confirmed in (False, False, True):
        result = site.see(LEFT)
        assert result.unknown_instances is not None
        assert result.unknown_instances[300, 220] == 1
        assert (set(site.shown()) == {1}) is confirmed
        assert [i.id for i, _ in site.outputs.detections[-1][1]] == ([1] if confirmed else [])


def test_a_weak_object_is_held_under_its_number_and_a_new_one_waits() -> None:
    site = Site(tracking=TrackerConfig(confirm_frames=2, support_frames=3))
    site.see(LEFT)
    site.see(LEFT)
    seen = [site.see(weak=(LEFT, RIGHT)) for _ in range(3)]
    for result, numbers in zip(seen, ([1], [1], [1, 2]), strict=True):
        assert result.unknown_instances is not None
        assert result.panoptic is not None
        assert [instance.id for instance in result.instances] == numbers
        assert sorted(set(np.unique(result.unknown_instances)) - {0}) == numbers
        assert result.unknown_instances[300, 220] == 1
        assert result.panoptic[300, 220] == UNKNOWN * 256 + 1
        assert result.candidates == ()
    assert set(site.shown()) == {1, 2}
    assert {instance.id: instance.bbox for instance, _ in site.outputs.detections[-1][1]} == {1: LEFT, 2: RIGHT}


def test_nothing_is_placed_where_nobody_listens_but_numbers_last() -> None:
    site = Site(Outputs(markers=False, detections=False))
    for _ in range(3):
        result = site.see(RIGHT, LEFT, info=None)
    assert [instance.id for instance in result.instances] == [1, 2]
    assert site.outputs.markers == site.outputs.detections == []
    assert site.statistics.snapshot().without_markers == {}


class Lost:
    def pose(self, *_: Any) -> Any:
        raise NoTransform("no transform from 'front_camera_optical' to 'base_link'")


@pytest.mark.parametrize(
    ("info", "extrinsics", "reason"),
    [
        (None, None, "no_camera_info"),
        (CameraInfo(width=640, height=480), None, "bad_camera_info"),
        (camera_info(640, 360, 500.0), None, "camera_info_of_other_aspect"),
        (INFO, Lost(), "no_transform"),
    ],
)
def test_what_is_missing_is_counted_and_detections_come_without_a_place(
    info: CameraInfo | None, extrinsics: Any, reason: str
) -> None:
    site = Site(extrinsics=extrinsics)
    for _ in range(3):
        site.see(LEFT, info=info)
    assert site.statistics.snapshot().without_markers == {reason: 3}
    assert site.shown() == {}
    _, objects, pose = site.outputs.detections[-1]
    assert [(instance.id, place) for instance, place in objects] == [(1, None)]
    assert pose is None


def test_a_depth_image_of_the_moment_places_what_the_ground_cannot() -> None:
    site = Site(tracking=TrackerConfig(confirm_frames=1))
    hanging = (300, 100, 340, 191)
    site.see(hanging)
    assert site.shown() == {}
    depth = np.full((120, 160), 10.0, np.float32)
    stamp_ns = (site.second + 1) * 10**9 + 123456789
    site.depth.put(
        stamp_ns + 40_000_000, Image(height=120, width=160, encoding="32FC1", step=640, data=depth.tobytes())
    )
    site.see(hanging)
    (label,) = site.shown().values()
    assert label.pose.position.x == pytest.approx(10.0)
    site.depth.put(stamp_ns + 1_000_000_000, Image(encoding="rgb8"))
    site.see(hanging)
    assert site.shown() == {}
    assert "rgb8" in site.node.logger.last
