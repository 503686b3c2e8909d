"""One camera's frames through the stream, without network and ROS: ids in all maps, places, what is missing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.geometry.projection import Mounting
from m2a_core.geometry.rectification import NotRectifiable
from m2a_core.openset.panoptic import draw_unknown
from m2a_core.perception.task import PerceptionTask, Steps
from m2a_core.stream.camera_stream import CameraStream, StreamResult
from m2a_core.stream.config import StreamConfig
from m2a_core.stream.sensors import DepthBuffer, NoTransform, Sensors
from m2a_core.tracking.tracker import TrackerConfig, panoptic_instance
from m2a_core.types import Frame, OpenSetResult, UnknownInstance
from test.stream.calibrations import calibration

UNKNOWN = 11
SIZE = (480, 640)
Box = tuple[int, int, int, int]
LEFT, RIGHT = (200, 250, 240, 330), (400, 260, 440, 340)


def camera_info(width: int = 640, height: int = 480, focal: float = 500.0) -> Any:
    """The fields of ``sensor_msgs/CameraInfo``."""
    k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return calibration(width, height, k, p)


def result_of(*boxes: Box) -> OpenSetResult:
    ids = np.zeros(SIZE, np.uint16)
    instances = []
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        ids[y0:y1, x0:x1] = number
        contour = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.int32)
        contact = ((x0 + x1 - 1) / 2, y1 - 1.0)
        instances.append(UnknownInstance(number, 1 - number / 10, 1, (x0, y0, x1, y1), contour, contact))
    panoptic = np.zeros(SIZE, np.int32)
    draw_unknown(panoptic, ids, UNKNOWN)
    return OpenSetResult(panoptic=panoptic, unknown_instances=ids, instances=tuple(instances))


class Perception:
    """Says of the next frame what it is told to; keeps the images that it saw."""

    def __init__(self) -> None:
        self.manifest = SimpleNamespace(input_size=(360, 480))
        self.labels = SimpleNamespace(unknown_id=UNKNOWN)
        self.next = OpenSetResult()
        self.seen: list[np.ndarray] = []

    def begin(self, frame: Frame, wanted: object, last: object, size: object) -> PerceptionTask:
        self.seen.append(frame.image)
        return PerceptionTask(self._steps())

    def run(self, frames: object) -> None:
        """The answer is known before."""

    def finish(self, task: PerceptionTask) -> OpenSetResult:
        return task.result()

    def _steps(self) -> Steps:
        yield ()
        return self.next


class Drive:
    """One camera, frame by frame."""

    def __init__(self, **config: Any) -> None:
        self.stream, self.perception, self.config = CameraStream(), Perception(), StreamConfig(**config)
        self.sensors = Sensors(camera_info())
        self.second = 10

    def see(self, *boxes: Box, weak: tuple[Box, ...] = ()) -> StreamResult:
        self.second += 1
        candidates = result_of(*weak)
        self.perception.next = replace(
            result_of(*boxes), candidates=candidates.instances, candidate_map=candidates.unknown_instances
        )
        frame = Frame(np.zeros((*SIZE, 3), np.uint8), self.second * 10**9, "optical", "front")
        return self.stream.process(frame, self.sensors, frozenset(), self.perception, self.config)


def test_map_panoptic_and_objects_tell_the_same_track_id() -> None:
    drive = Drive()
    drive.see(LEFT, RIGHT)
    drive.see(LEFT, RIGHT)
    # The order of scores changes, so that a frame's own numbers swap.
    seen = drive.see(RIGHT, LEFT)
    assert seen.result.unknown_instances is not None
    assert seen.result.panoptic is not None
    assert (seen.result.unknown_instances[300, 220], seen.result.unknown_instances[300, 420]) == (1, 2)
    assert seen.result.panoptic[300, 220] == UNKNOWN * 256 + panoptic_instance(1)
    assert seen.result.panoptic[300, 420] == UNKNOWN * 256 + panoptic_instance(2)
    assert {item.instance.id: item.instance.bbox for item in seen.objects} == {1: LEFT, 2: RIGHT}
    assert [instance.id for instance in seen.result.instances] == [2, 1]
    places = {item.instance.id: item.location for item in seen.objects}
    assert places[1] is not None
    assert places[2] is not None
    assert places[1].position[1] > 0 > places[2].position[1], "left is positive y (REP-103)"


def test_maps_have_the_id_from_the_first_frame_and_objects_from_the_confirming_one() -> None:
    drive = Drive(tracking=TrackerConfig(min_hits=3))
    for confirmed in (False, False, True):
        seen = drive.see(LEFT)
        assert seen.result.unknown_instances is not None
        assert seen.result.unknown_instances[300, 220] == 1
        assert [item.instance.id for item in seen.objects] == ([1] if confirmed else [])


def test_a_weak_object_is_held_under_its_id_and_a_new_one_waits() -> None:
    drive = Drive(tracking=TrackerConfig(min_hits=2, min_low_hits=3))
    drive.see(LEFT)
    drive.see(LEFT)
    frames = [drive.see(weak=(LEFT, RIGHT)) for _ in range(3)]
    for seen, numbers in zip(frames, ([1], [1], [1, 2]), strict=True):
        result = seen.result
        assert result.unknown_instances is not None
        assert result.panoptic is not None
        assert [instance.id for instance in result.instances] == numbers
        assert sorted(set(np.unique(result.unknown_instances)) - {0}) == numbers
        assert result.panoptic[300, 220] == UNKNOWN * 256 + 1
        assert result.candidates == ()
    assert {item.instance.id: item.instance.bbox for item in frames[-1].objects} == {1: LEFT, 2: RIGHT}


def test_ids_last_without_a_calibration() -> None:
    drive = Drive()
    drive.sensors = Sensors()
    for _ in range(3):
        seen = drive.see(RIGHT, LEFT)
    assert [instance.id for instance in seen.result.instances] == [1, 2]
    assert [item.location for item in seen.objects] == [None, None]


def lost(frame: Frame) -> Any:
    raise NoTransform(f"no transform from '{frame.frame_id}' to 'base_link'")


@pytest.mark.parametrize(
    ("sensors", "reason"),
    [
        (Sensors(), "no_camera_info"),
        (Sensors(camera_info(focal=0.0)), "bad_camera_info"),
        (Sensors(camera_info(height=360)), "camera_info_of_other_aspect"),
        (Sensors(camera_info(), lost), "no_transform"),
    ],
)
def test_what_is_missing_is_named_and_objects_come_without_a_place(sensors: Sensors, reason: str) -> None:
    drive = Drive()
    drive.sensors = sensors
    for _ in range(2):
        seen = drive.see(LEFT)
    assert seen.unlocalized is not None
    assert seen.unlocalized.reason == reason
    assert seen.pose is None
    assert [(item.instance.id, item.location) for item in seen.objects] == [(1, None)]


def test_a_depth_image_of_the_moment_places_what_the_ground_cannot() -> None:
    drive = Drive(tracking=TrackerConfig(min_hits=1))
    hanging = (300, 100, 340, 191)
    assert [item.location for item in drive.see(hanging).objects] == [None]
    metres = np.full((120, 160), 10.0, np.float32)
    image = SimpleNamespace(height=120, width=160, encoding="32FC1", step=640, is_bigendian=0, data=metres.tobytes())
    depth = DepthBuffer()
    drive.sensors = Sensors(camera_info(), depth=depth)
    depth.put((drive.second + 1) * 10**9 + 40_000_000, image)
    (item,) = drive.see(hanging).objects
    assert item.location is not None
    assert item.location.position[0] == pytest.approx(10.0)
    depth.put((drive.second + 1) * 10**9, SimpleNamespace(encoding="rgb8"))
    seen = drive.see(hanging)
    assert [item.location for item in seen.objects] == [None]
    assert seen.unlocalized is not None
    assert seen.unlocalized.reason == "bad_depth"
    assert isinstance(seen.unlocalized.error, DataError)


def test_without_a_source_of_poses_the_camera_is_where_it_is_mounted() -> None:
    low, high = (Drive(mounting=Mounting(height=height)) for height in (1.0, 2.0))
    distances = []
    for drive in (low, high):
        drive.see(LEFT)
        location = drive.see(LEFT).objects[0].location
        assert location is not None
        distances.append(location.distance)
    assert distances[1] == pytest.approx(2 * distances[0])


def test_the_network_sees_the_crop_and_maps_have_the_size_of_the_image() -> None:
    drive = Drive(crop=True, crop_center=0.0)
    drive.perception.manifest.input_size = (240, 640)
    inside = result_of((10, 10, 20, 20)).unknown_instances
    assert inside is not None
    drive.perception.next = OpenSetResult(unknown_instances=inside[:240])
    frame = Frame(np.zeros((*SIZE, 3), np.uint8), 1, "optical", "front")
    seen = drive.stream.process(frame, drive.sensors, frozenset(), drive.perception, drive.config)
    assert drive.perception.seen[-1].shape == (240, 640, 3)
    assert seen.result.unknown_instances is not None
    assert seen.result.unknown_instances.shape == SIZE
    assert np.array_equal(seen.result.unknown_instances[:240], inside[:240])
    assert not seen.result.unknown_instances[240:].any()


def test_a_frame_that_cannot_be_rectified_costs_that_frame_alone() -> None:
    drive = Drive(rectify=True)
    drive.see(LEFT)
    drive.sensors = Sensors()
    with pytest.raises(NotRectifiable):
        drive.see(LEFT)
    drive.sensors = Sensors(camera_info())
    assert [item.instance.id for item in drive.see(LEFT).objects] == [1]


def test_detections_of_an_earlier_run_let_tracks_go_on() -> None:
    first, second = Drive(), Drive()
    for _ in range(3):
        seen = first.see(LEFT, weak=(RIGHT,))
        assert seen.detections is not None
        second.second += 1
        second.stream.catch_up(second.second * 10**9, seen.detections, second.config)
    ahead, behind = first.see(RIGHT, LEFT), second.see(RIGHT, LEFT)
    assert [i.id for i in ahead.result.instances] == [i.id for i in behind.result.instances]
    assert [i.instance.id for i in ahead.objects] == [i.instance.id for i in behind.objects]


def test_after_a_reset_tracks_begin_anew() -> None:
    drive = Drive()
    drive.see(LEFT)
    assert drive.see(LEFT).objects
    drive.stream.reset()
    assert drive.see(LEFT).objects == ()


def test_a_black_image_is_told_in_the_result() -> None:
    drive = Drive()
    assert drive.see(LEFT).degraded == ("black",)
