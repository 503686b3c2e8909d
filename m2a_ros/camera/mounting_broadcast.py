"""``mounting.*`` on ``/tf_static``: viewers need a tree from ``base_frame`` to the cameras."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from geometry_msgs.msg import Transform, TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from m2a_core.geometry.projection import CameraPose, quaternion
from m2a_ros.parameters.settings import Settings

_TOPIC = "/tf_static"
_LATCHED = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class MountingBroadcast:
    """Broadcasts where the cameras are; leaves out frames that somebody else places."""

    def __init__(self, node: Node) -> None:
        """Listen to what others broadcast; does nothing where tf2_msgs is not installed.

        Args:
            node: to publish, listen and log with.
        """
        self._node = node
        self._sent: dict[str, Transform] = {}
        self._base_frame = ""
        self._others: set[str] = set()
        self._told: set[str] = set()
        self._message: type | None = None
        if find_spec("tf2_msgs") is None:
            node.get_logger().info(f"tf2_msgs is not installed: mounting.* is not broadcast on {_TOPIC}")
            return
        from tf2_msgs.msg import TFMessage

        self._message = TFMessage
        self._publisher = node.create_publisher(TFMessage, _TOPIC, _LATCHED)
        self._subscription = node.create_subscription(TFMessage, _TOPIC, self._hear, _LATCHED)

    def announce(self, frames: Mapping[str, str], settings: Settings) -> None:
        """Broadcast what is new.

        Args:
            frames: frame_id of each camera's images, as far as they are known.
            settings: the node's parameters.
        """
        if self._message is None:
            return
        wanted: dict[str, Transform] = {}
        for camera, frame in frames.items():
            if frame and self._is_free(camera, frame, wanted, settings.base_frame):
                wanted[frame] = _transform(settings.mounting[camera].pose(settings.ground_z))
        if wanted and (wanted, settings.base_frame) != (self._sent, self._base_frame):
            self._sent, self._base_frame = wanted, settings.base_frame
            header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=settings.base_frame)
            transforms = [TransformStamped(header=header, child_frame_id=f, transform=t) for f, t in wanted.items()]
            self._publisher.publish(self._message(transforms=transforms))

    def close(self) -> None:
        """Take the publisher and the subscription away."""
        if self._message is not None:
            self._node.destroy_subscription(self._subscription)
            self._node.destroy_publisher(self._publisher)

    def _is_free(self, camera: str, frame: str, taken: Mapping[str, Transform], base_frame: str) -> bool:
        if frame == base_frame:
            problem = "it is base_frame itself: set the driver's frame_id to the camera's optical frame"
        elif frame in taken:
            problem = "another camera uses it too: give each driver a frame_id of its own"
        elif frame in self._others:
            problem = "another node already does: set extrinsics to 'tf' to use that"
        else:
            return True
        if camera not in self._told:
            self._told.add(camera)
            self._node.get_logger().warning(f"camera '{camera}': '{frame}' is not placed on {_TOPIC}; {problem}")
        return False

    def _hear(self, message: Any) -> None:
        for stamped in message.transforms:
            own = self._sent.get(stamped.child_frame_id) == stamped.transform
            if not own or stamped.header.frame_id != self._base_frame:
                self._others.add(stamped.child_frame_id)


def _transform(pose: CameraPose) -> Transform:
    """A camera's pose in the base frame as a ``geometry_msgs/Transform`` from its optical frame."""
    made = Transform()
    made.translation.x, made.translation.y, made.translation.z = map(float, pose.position)
    turned = made.rotation
    turned.x, turned.y, turned.z, turned.w = quaternion(pose.rotation)
    return made
