"""Where a bag's cameras sit, from ``camera_info``, ``/tf_static`` and ``--mounting``; and where the car drove."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2a_core.errors import ConfigError, DataError, quoted
from m2a_core.geometry.calibration_file import parse_mounting
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.projection import OPTICAL_TO_BODY, GroundProjector, Mounting, rotation_matrix
from m2a_ros.bag.cameras import CameraTopic, camera_info_topic
from m2a_ros.bag.reader import CAMERA_INFO, Bag, UndecodableMessage, decode

ODOMETRY, FIX, TF = "nav_msgs/msg/Odometry", "sensor_msgs/msg/NavSatFix", "tf2_msgs/msg/TFMessage"
BASE_FRAMES = ("base_footprint", "base_link")
"""Frames whose ground is at z = 0; the first that a camera hangs on counts."""

_TF_STATIC = "/tf_static"
_EARTH_RADIUS_M = 6_371_008.8
_NO_FIX = -1
_COURSE_STEP_M = 1.0


@dataclass(frozen=True)
class Track:
    """Where the car was.

    Attributes:
        kind: ``odometry`` or ``gnss``.
        topic: where it was read.
        times_ns: int64 [N], ascending time of recording.
        xy: float64 [N, 2], metres; x east and y north for GNSS, the odometry frame's axes else.
        yaw: float64 [N], radians, counter-clockwise from x; for GNSS the course, NaN before the car has moved.
    """

    kind: str
    topic: str
    times_ns: np.ndarray
    xy: np.ndarray
    yaw: np.ndarray

    def at(self, time_ns: int) -> tuple[float, float, float] | None:
        """x, y and yaw at a time, interpolated; None outside the track."""
        if not self.times_ns[0] <= time_ns <= self.times_ns[-1]:
            return None
        relative = (self.times_ns - self.times_ns[0]).astype(np.float64)
        now = float(time_ns - self.times_ns[0])
        x, y = (float(np.interp(now, relative, column)) for column in self.xy.T)
        turns = np.unwrap(np.nan_to_num(self.yaw))
        unknown = np.isnan(self.yaw[np.searchsorted(self.times_ns, time_ns)])
        return x, y, math.nan if unknown else float(np.interp(now, relative, turns))


def find_mounting(bag: Bag, topic: CameraTopic, frame_id: str, mountings: Mapping[str, Mounting]) -> Mounting | None:
    """Where a camera sits: as the user said for it or for all cameras, or else as the bag's static transforms say.

    Args:
        bag: the replayed bag.
        topic: the camera.
        frame_id: its optical frame.
        mountings: from ``request.parse_mountings``; the one of the empty name is for all cameras.

    Raises:
        DataError: the bag is damaged.
    """
    return mountings.get(topic.camera) or mountings.get("") or read_mounting(bag, frame_id)


def read_mounting(bag: Bag, frame_id: str) -> Mounting | None:
    """Where the static transforms of a bag put a camera; None where no base frame carries it above the ground.

    Raises:
        DataError: the bag is damaged.
    """
    parents: dict[str, tuple[str, np.ndarray]] = {}
    for _, _, data in bag.messages([c for c in bag.connections if c.topic == _TF_STATIC and c.msgtype == TF]):
        for transform in decode(data, TF).transforms:
            parents[transform.child_frame_id.lstrip("/")] = (
                transform.header.frame_id.lstrip("/"),
                _matrix(transform.transform),
            )
    frame, pose = frame_id.lstrip("/"), np.eye(4)
    for _ in range(len(parents) + 1):
        if frame in BASE_FRAMES:
            return _mounting(pose) if pose[2, 3] > 0 else None
        if frame not in parents:
            return None
        frame, step = parents[frame]
        pose = step @ pose
    return None


def read_intrinsics(bag: Bag, topic: CameraTopic, size: tuple[int, int], rectified: bool = False) -> Intrinsics | str:
    """Calibration of a camera for images of width and height ``size``, rectified or not, or why there is none.

    Raises:
        DataError: the bag is damaged.
    """
    wanted = camera_info_topic(topic.topic)
    infos = [c for c in bag.connections if c.topic == wanted and c.msgtype == CAMERA_INFO and c.msgcount]
    if not infos:
        return f"no {wanted} in the bag"
    try:
        intrinsics = Intrinsics.from_camera_info(bag.first(infos[0]), rectified).fitted(size)
    except UndecodableMessage as error:
        return f"{wanted}: {error}"
    except DataError as error:
        if str(bag.path) in str(error):
            raise
        return str(error)
    return intrinsics or f"{wanted} has another aspect ratio than the images' {size[0]}x{size[1]}"


def read_projector(
    bag: Bag,
    topic: CameraTopic,
    frame_id: str,
    size: tuple[int, int],
    mountings: Mapping[str, Mounting],
    rectified: bool = False,
) -> GroundProjector | str:
    """What projects a camera's pixels to the ground, or why nothing can.

    Args:
        bag: the replayed bag.
        topic: the camera.
        frame_id: its optical frame.
        size: width and height of its images.
        mountings: from ``request.parse_mountings``; they go before ``/tf_static``.
        rectified: whether the pixels are of rectified images.

    Raises:
        DataError: the bag is damaged.
    """
    intrinsics = read_intrinsics(bag, topic, size, rectified)
    if isinstance(intrinsics, str):
        return intrinsics
    mounting = find_mounting(bag, topic, frame_id, mountings)
    if mounting is None:
        return f"no {_TF_STATIC} from {' or '.join(BASE_FRAMES)} to {quoted(frame_id)}; give --mounting height=METRES"
    return GroundProjector(intrinsics, mounting)


def read_track(bag: Bag) -> Track | None:
    """Where the car was, from the topic with the most messages: odometry, or else GNSS fixes; None where neither is.

    Raises:
        DataError: the bag is damaged.
    """
    for kind, msgtype in (("odometry", ODOMETRY), ("gnss", FIX)):
        counts: dict[str, int] = {}
        for connection in bag.connections:
            if connection.msgtype == msgtype:
                counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
        for topic in sorted(counts, key=lambda name: (-counts[name], name)):
            rows: list[tuple[int, float, float, float]] = []
            for _, recorded, data in bag.messages([c for c in bag.connections if c.topic == topic]):
                row = _place(decode(data, msgtype), kind)
                if row is not None and (not rows or recorded > rows[-1][0]):
                    rows.append((recorded, *row))
            if len(rows) > 1:
                values = np.array([row[1:] for row in rows], np.float64)
                times = np.array([row[0] for row in rows], np.int64)
                if kind == "odometry":
                    return Track(kind, topic, times, values[:, :2], values[:, 2])
                xy = _metres(values[:, :2])
                return Track(kind, topic, times, xy, _course(xy))
    return None


def _place(message: Any, kind: str) -> tuple[float, float, float] | None:
    if kind == "gnss":
        row = (message.longitude, message.latitude, math.nan)
        return row if message.status.status > _NO_FIX and all(map(math.isfinite, row[:2])) else None
    pose = message.pose.pose
    rotation = _rotation(pose.orientation)
    row = (pose.position.x, pose.position.y, math.atan2(rotation[1, 0], rotation[0, 0]))
    return row if all(map(math.isfinite, row)) else None


def _metres(longitude_latitude: np.ndarray) -> np.ndarray:
    """East and north of the first fix, on a sphere: off by less than 0.5 % over a drive."""
    radians = np.radians(longitude_latitude - longitude_latitude[0])
    east = np.cos(np.radians(longitude_latitude[0, 1])) * radians[:, 0]
    metres: np.ndarray = _EARTH_RADIUS_M * np.column_stack([east, radians[:, 1]])
    return metres


def _course(xy: np.ndarray) -> np.ndarray:
    """Direction of travel at each point; where the car stands, that of before."""
    yaw, last, before = np.full(len(xy), np.nan), 0, math.nan
    for number in range(1, len(xy)):
        step = xy[number] - xy[last]
        if np.linalg.norm(step) >= _COURSE_STEP_M:
            before, last = math.atan2(step[1], step[0]), number
        yaw[number] = before
    return yaw


def _rotation(q: Any) -> np.ndarray:
    """Of a recorded quaternion; one that was never filled in (all zero) does not turn."""
    return rotation_matrix(*np.array([q.x, q.y, q.z, q.w]) / max(1e-12, math.hypot(q.x, q.y, q.z, q.w)))


def _matrix(transform: Any) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(transform.rotation)
    matrix[:3, 3] = (transform.translation.x, transform.translation.y, transform.translation.z)
    return matrix


def _mounting(pose: np.ndarray) -> Mounting:
    """The mounting (fixed axes roll, pitch, yaw) of a camera at a pose, float64 [4, 4], in the base frame."""
    body = pose[:3, :3] @ OPTICAL_TO_BODY.T
    pitch = math.asin(max(-1.0, min(1.0, -float(body[2, 0]))))
    roll, yaw = math.atan2(body[2, 1], body[2, 2]), math.atan2(body[1, 0], body[0, 0])
    return Mounting(float(pose[0, 3]), float(pose[1, 3]), float(pose[2, 3]), roll, pitch, yaw)


def parse_mountings(arguments: Sequence[str]) -> dict[str, Mounting]:
    """Read ``[CAMERA:]name=value,...`` arguments; the camera is an empty string where none is named.

    Raises:
        ConfigError: an argument is not a mounting, or the height is not positive.
    """
    found: dict[str, Mounting] = {}
    for argument in arguments:
        camera, _, text = argument.rpartition(":")
        if camera in found:
            raise ConfigError(f"--mounting {argument}: camera '{camera or 'every'}' was given before")
        found[camera] = parse_mounting(text)
    return found
