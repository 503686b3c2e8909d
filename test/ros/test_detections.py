"""Detections against vision_msgs: the package's own messages where it is installed, else its definitions.

vision_msgs is not on PyPI. Elsewhere rosbags builds its messages from the definitions of vision_msgs 4.1.1 (the same in
Humble, Jazzy and Kilted) and serialises what the node would send, which proves names and types of fields.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.localization import localize
from m2a_core.geometry.projection import GroundProjector, Mounting
from m2a_core.stream.objects import TrackedObject
from m2a_core.types import UnknownInstance
from m2a_ros.outputs import detections
from m2a_ros.outputs.detections import NO_POSE, detections_message
from test.ros.messages import camera_info, header

DEFINITIONS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections",
}
STORE = get_typestore(Stores.ROS2_KILTED)
for name, text in DEFINITIONS.items():
    STORE.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))

BOX = (300, 200, 340, 291)


@pytest.fixture(autouse=True)
def messages(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("vision_msgs") is None:
        for name in DEFINITIONS:
            monkeypatch.setattr(detections, name, STORE.types[f"vision_msgs/msg/{name}"], raising=False)


def plain(message: Any) -> Any:
    """A message of rclpy as one of rosbags, by its fields."""
    kind = type(message)
    if hasattr(kind, "get_fields_and_field_types"):
        name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        fields = {field: plain(getattr(message, field)) for field in kind.get_fields_and_field_types()}
        return STORE.types[name](**fields)
    if isinstance(message, list):
        return [plain(item) for item in message]
    if hasattr(message, "__dataclass_fields__"):
        for field in message.__dataclass_fields__:
            if field != "__msgtype__":
                setattr(message, field, plain(getattr(message, field)))
    return message


def sent(objects: list[Any], projector: GroundProjector | None) -> Any:
    """The message as a reader gets it."""
    message = detections_message(header(3), objects, projector.pose if projector else None)
    kind = "vision_msgs/msg/Detection2DArray"
    return STORE.deserialize_cdr(STORE.serialize_cdr(plain(message), kind), kind)


def seen() -> UnknownInstance:
    x0, y0, x1, y1 = BOX
    contour = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.int32)
    return UnknownInstance(7, 0.875, 1, BOX, contour, (320.0, 290.0))


@pytest.mark.parametrize("yaw", [0.0, 1.2])
def test_a_detection_has_number_score_box_and_place_in_the_optical_frame(yaw: float) -> None:
    mounting = Mounting(x=2.0, y=0.5, height=1.5, yaw=yaw)
    projector = GroundProjector(Intrinsics.from_camera_info(camera_info(640, 480, 500.0)), mounting)
    (placed,) = localize([seen()], projector, 60.0, 1.0)
    assert placed is not None
    array = sent([TrackedObject(seen(), placed)], projector)
    assert array.header.frame_id == "front_camera_optical"
    (detection,) = array.detections
    assert detection.id == "7"
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (319.5, 245.0)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (40.0, 91.0)
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("unknown", 0.875)
    position = result.pose.pose.position
    # 50 px below the horizon of a level camera 1.5 m up: 15 m ahead, wherever the camera looks to.
    np.testing.assert_allclose([position.x, position.y, position.z], [0, 1.5, 15], atol=1e-9)
    covariance = np.array(result.pose.covariance).reshape(6, 6)
    near, far = placed.bounds
    assert np.sqrt(covariance[2, 2]) == pytest.approx((far - near) / 12**0.5)
    assert np.sqrt(covariance[0, 0]) < 0.05
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    assert (np.linalg.eigvalsh(covariance) > -1e-9).all()


def test_without_a_place_the_covariance_says_so() -> None:
    (detection,) = sent([TrackedObject(seen(), None)], None).detections
    assert detection.results[0].pose.covariance[0] == NO_POSE


def test_no_object_is_an_empty_array() -> None:
    assert sent([], None).detections == []
