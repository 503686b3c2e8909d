"""The cameras' places on /tf_static; needs tf2_msgs, which only distributions have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from m2a_core.geometry.projection import Mounting, rotation_matrix
from test.ros.in_process import Nodes
from test.ros.messages import FRAME_ID, image, scene

tf2_msgs = pytest.importorskip("tf2_msgs.msg")

LATCHED = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MOUNTED: dict[str, Any] = {
    "extrinsics": "parameters",
    "mounting.front.x": 1.7,
    "mounting.front.yaw": 0.3,
    "ground_z": -0.4,
}


def placed(nodes: Nodes) -> dict[str, Any]:
    """The latest transform by child frame."""
    return {t.child_frame_id: t for message in nodes.received["/tf_static"] for t in message.transforms}


def test_mounting_parameters_are_broadcast_to_viewers_that_come_later_and_follow_changes(nodes: Nodes) -> None:
    node = nodes.start(**MOUNTED)
    topic = "/m2a/input/front/image"
    nodes.listen("/tf_static", tf2_msgs.TFMessage, LATCHED)
    nodes.until(lambda: placed(nodes).get(FRAME_ID), lambda: nodes.send(topic, image(scene(None), 1)))
    nodes.received["/tf_static"].clear()
    nodes.listen("/tf_static", tf2_msgs.TFMessage, LATCHED)  # A viewer that comes later.
    found = nodes.until(lambda: placed(nodes).get(FRAME_ID))
    assert found.header.frame_id == "base_link"
    pose = Mounting(x=1.7, yaw=0.3).pose(-0.4)
    t, q = found.transform.translation, found.transform.rotation
    np.testing.assert_allclose([t.x, t.y, t.z], pose.position)
    np.testing.assert_allclose(rotation_matrix(q.x, q.y, q.z, q.w), pose.rotation, atol=1e-9)
    node.set_parameters([Parameter("mounting.front.height", value=2.5)])
    assert nodes.until(lambda: placed(nodes)[FRAME_ID].transform.translation.z == pytest.approx(2.1))


def test_a_frame_that_somebody_else_places_is_left_to_them(nodes: Nodes) -> None:
    other = tf2_msgs.TFMessage(transforms=[TransformStamped(child_frame_id=FRAME_ID)])
    other.transforms[0].header.frame_id = "chassis"
    nodes.send("/tf_static", other, LATCHED)
    nodes.listen("/tf_static", tf2_msgs.TFMessage, LATCHED)
    log = nodes.listen("/rosout", Log)
    nodes.start(**MOUNTED)
    nodes.until(lambda: placed(nodes).get(FRAME_ID))
    nodes.until(
        lambda: any("another node already does" in line.msg for line in log),
        lambda: nodes.send("/m2a/input/front/image", image(scene(None), 1)),
    )
    assert placed(nodes)[FRAME_ID].header.frame_id == "chassis"
