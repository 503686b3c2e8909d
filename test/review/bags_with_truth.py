"""Bags with truth, calibration and odometry, written field by field with rosbags and not with the code under test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from test.replay.bags import FRAME_ID, START, STEP, STORE, Sent, image, message_header, raw

LABELS, IDS = "/truth/labels", "/truth/ids"
FOCAL, HEIGHT_M = 100.0, 1.5


def label(values: np.ndarray, number: int, topic: str = LABELS, encoding: str = "mono8") -> Sent:
    return image(values, number, topic, encoding)


def camera_info(
    size: tuple[int, int] = (96, 128),
    focal: float = FOCAL,
    number: int = 0,
    distortion: tuple[float, ...] = (0.0,) * 5,
    rectified_focal: float | None = None,
) -> Sent:
    """The calibration as it is sent just before image ``number``; P is K unless it has a focal length of its own."""
    kind, (height, width), time = "sensor_msgs/msg/CameraInfo", size, START + number * STEP
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1], float)
    p = np.hstack([k.reshape(3, 3), np.zeros((3, 1))])
    if rectified_focal is not None:
        p[0, 0] = p[1, 1] = rectified_focal
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    message = STORE.types[kind](
        header=message_header(time),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.array(distortion),
        k=k,
        r=np.eye(3).ravel(),
        p=p.ravel(),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )
    return Sent("/cam/front/camera_info", time - 1, kind, bytes(STORE.serialize_cdr(message, kind)))


def static_transform(height: float = HEIGHT_M) -> Sent:
    """base_link to the camera's optical frame: above it, looking straight ahead."""
    kind, types = "tf2_msgs/msg/TFMessage", STORE.types
    header = message_header(START)
    header.frame_id = "base_link"
    transform = types["geometry_msgs/msg/Transform"](
        translation=types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=height),
        rotation=types["geometry_msgs/msg/Quaternion"](x=-0.5, y=0.5, z=-0.5, w=0.5),
    )
    stamped = types["geometry_msgs/msg/TransformStamped"](header=header, child_frame_id=FRAME_ID, transform=transform)
    return Sent("/tf_static", START, kind, bytes(STORE.serialize_cdr(types[kind](transforms=[stamped]), kind)))


def odometry(number: int, x: float) -> Sent:
    kind, types = "nav_msgs/msg/Odometry", STORE.types
    zero = types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0)
    pose: Any = types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](x=x, y=0.0, z=0.0),
        orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    message = types[kind](
        header=message_header(START + number * STEP),
        child_frame_id="base_link",
        pose=types["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=np.zeros(36)),
        twist=types["geometry_msgs/msg/TwistWithCovariance"](
            twist=types["geometry_msgs/msg/Twist"](linear=zero, angular=zero), covariance=np.zeros(36)
        ),
    )
    return Sent("/odom", START + number * STEP, kind, bytes(STORE.serialize_cdr(message, kind)))


def mark(number: int, text: str) -> Sent:
    kind = "std_msgs/msg/String"
    message = STORE.types[kind](data=text)
    return Sent("/marks", START + number * STEP, kind, bytes(STORE.serialize_cdr(message, kind)))


def road(red_box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Blue sky over green road, 96x128; what lies in x0, y0, x1, y1 is red, which the tiny model takes for unknown."""
    rgb = np.zeros((96, 128, 3), np.uint8)
    rgb[:48], rgb[48:] = (0, 0, 255), (0, 255, 0)
    if red_box:
        x0, y0, x1, y1 = red_box
        rgb[y0:y1, x0:x1] = (255, 0, 0)
    return rgb


def truth_of(boxes: dict[int, tuple[int, int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and ids of boxes x0, y0, x1, y1 by id."""
    labels, ids = np.zeros((96, 128), np.uint8), np.zeros((96, 128), np.uint16)
    for number, (x0, y0, x1, y1) in boxes.items():
        labels[y0:y1, x0:x1], ids[y0:y1, x0:x1] = 1, number
    return labels, ids


def rectified_images(messages: list[Sent]) -> list[Sent]:
    """The same, whose images only P describes, as of an image_rect topic."""
    info = camera_info(focal=FOCAL / 3, distortion=(-0.3, 0.1, 0.0, 0.0, 0.0), rectified_focal=FOCAL)
    return [info if message.topic == info.topic else message for message in messages]


def rectified_parameters(path: Path) -> Path:
    """A parameter file that says so of the camera."""
    parameters = {"cameras": ["cam_front"], "rectified_cameras": ["cam_front"]}
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


def approach(frames: int = 6, seen_from: int = 2) -> list[Sent]:
    """An object, id 7, that comes nearer; the camera shows it from frame ``seen_from`` on, the truth always.

    Its foot is at row 60 + 4 i, so on flat ground ``HEIGHT_M * FOCAL / (row - 48)`` metres ahead.
    """
    messages = [camera_info(), static_transform()]
    for i in range(frames):
        box = (40, 44 + 4 * i, 72, 60 + 4 * i)
        labels, ids = truth_of({7: box})
        messages += [raw(road(box if i >= seen_from else None), i), label(labels, i)]
        messages += [label(ids, i, IDS, "16UC1"), odometry(i, 2.0 * i)]
    return messages
