"""Where the cameras are: from tf2 where that is installed, else from the parameters ``mounting.*``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Time as TimeMessage
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from m2a_core.errors import ConfigError, one_line, quoted
from m2a_core.geometry.projection import CameraPose, rotation_matrix
from m2a_core.stream.sensors import NoTransform
from m2a_ros.camera.mounting_broadcast import MountingBroadcast
from m2a_ros.camera.stamps import stamp_to_ns
from m2a_ros.parameters.declarations import EXTRINSICS
from m2a_ros.parameters.settings import Settings

_, _TF, _PARAMETERS = EXTRINSICS
LAG_S = 0.1
"""How much older than the image a transform may be where no newer one has come yet: moving parts send theirs in steps,
and a frame does not wait for the next."""


class Extrinsics(Protocol):
    """Tells where cameras are."""

    def pose(self, camera: str, frame_id: str, stamp: TimeMessage, settings: Settings) -> CameraPose:
        """A camera's pose in the base frame.

        Args:
            camera: name of the camera.
            frame_id: its optical frame, from the image's header.
            stamp: of the image.
            settings: the node's parameters.

        Raises:
            NoTransform: it is not known.
        """

    def announce(self, frames: Mapping[str, str], settings: Settings) -> None:
        """Let others know.

        Args:
            frames: frame_id of each camera's images, as far as they are known.
            settings: the node's parameters.
        """

    def close(self) -> None:
        """Stop listening."""


class ParameterExtrinsics:
    """From ``mounting.CAMERA.*``, broadcast on ``/tf_static``; stamps do not matter."""

    def __init__(self, node: Node | None = None) -> None:
        """Be ready to broadcast with a node; None for nobody."""
        self._broadcast = None if node is None else MountingBroadcast(node)

    def pose(self, camera: str, frame_id: str, stamp: TimeMessage, settings: Settings) -> CameraPose:
        """See ``Extrinsics``."""
        return settings.mounting[camera].pose(settings.ground_z)

    def announce(self, frames: Mapping[str, str], settings: Settings) -> None:
        """See ``Extrinsics``."""
        if self._broadcast is not None:
            self._broadcast.announce(frames, settings)

    def close(self) -> None:
        """Stop broadcasting."""
        if self._broadcast is not None:
            self._broadcast.close()


class TfExtrinsics:
    """From ``/tf`` and ``/tf_static``, at the image's stamp.

    ``/tf`` costs up to a fifth of a core where a hundred messages a second with twenty transforms come, for nothing
    where cameras are fixed: it is listened to until every camera is found by ``/tf_static`` alone, and again when a
    transform is missing.
    """

    def __init__(self, node: Node) -> None:
        """Listen with a node's executor; needs tf2_ros."""
        from tf2_ros import Buffer, ExtrapolationException, TransformException, TransformListener

        self._node = node
        self._listen = TransformListener
        self._missing, self._not_yet = TransformException, ExtrapolationException
        # Without the node: the buffer would give it a service and a clock callback that nothing takes away again.
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        self._fixed: dict[str, bool] = {}
        self._hears_motion = True
        # A bag that begins again: to the buffer all that comes would be older than what it has, and be dropped.
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump = node.get_clock().create_jump_callback(threshold, post_callback=lambda _: self._buffer.clear())

    def pose(self, camera: str, frame_id: str, stamp: TimeMessage, settings: Settings) -> CameraPose:
        """See ``Extrinsics``; never waits."""
        if not frame_id:
            raise NoTransform(f"camera '{camera}' sends images without frame_id: set the driver's frame_id")
        try:
            moment = Time(nanoseconds=max(0, stamp_to_ns(stamp)))  # 0 is the latest.
            found = self._lookup(settings.base_frame, frame_id, moment)
        except self._missing as error:
            self._hear_motion()
            reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__, 200)
            raise NoTransform(
                f"no transform from {quoted(frame_id)} to '{settings.base_frame}' ({reason}): publish it "
                "(robot_state_publisher, static_transform_publisher), or set extrinsics to 'parameters' and mounting.*"
            ) from error
        if self._hears_motion:
            # Where only static transforms lie between two frames, their latest common time is 0.
            newest = self._buffer.get_latest_common_time(settings.base_frame, frame_id)
            self._fixed[camera] = newest.nanoseconds == 0
            if self._fixed.keys() >= set(settings.cameras) and all(self._fixed.values()):
                self._ignore_motion()
        return pose_of(found.transform)

    def announce(self, frames: Mapping[str, str], settings: Settings) -> None:
        """Nothing: they are known from others."""

    def close(self) -> None:
        """Unsubscribe."""
        self._jump.unregister()
        self._listener.unregister()

    def _ignore_motion(self) -> None:
        # Not in tf2_ros's documentation: where the name is another one, /tf is just listened to.
        if (subscription := getattr(self._listener, "tf_sub", None)) is not None:
            self._node.destroy_subscription(subscription)
            self._hears_motion = False

    def _hear_motion(self) -> None:
        if not self._hears_motion:
            self._listener.unregister()
            self._listener = self._listen(self._buffer, self._node)
            self._hears_motion = True

    def _lookup(self, base_frame: str, frame_id: str, moment: Time) -> Any:
        """The transform at a moment, or the newest one if that is hardly older."""
        try:
            return self._buffer.lookup_transform(base_frame, frame_id, moment)
        except self._not_yet:
            newest = self._buffer.lookup_transform(base_frame, frame_id, Time())
            if 0 <= moment.nanoseconds - stamp_to_ns(newest.header.stamp) <= LAG_S * 1e9:
                return newest
            raise


def create_extrinsics(node: Node, source: str) -> Extrinsics:
    """The source of the cameras' places.

    Args:
        node: listens to transforms.
        source: ``tf``, ``parameters``, or ``auto``: tf where tf2_ros is installed.

    Raises:
        ConfigError: tf is wanted and tf2_ros is not installed.
    """
    installed = find_spec("tf2_ros") is not None
    if source == _TF and not installed:
        raise ConfigError(
            "parameter 'extrinsics' is 'tf', but the Python package tf2_ros is missing: install "
            "ros-<distribution>-tf2-ros-py, or set it to 'parameters'"
        )
    return TfExtrinsics(node) if installed and source != _PARAMETERS else ParameterExtrinsics(node)


def pose_of(transform: Any) -> CameraPose:
    """A ``geometry_msgs/Transform`` as a pose."""
    t, q = transform.translation, transform.rotation
    unit = np.array([q.x, q.y, q.z, q.w]) / np.linalg.norm([q.x, q.y, q.z, q.w])
    return CameraPose(np.array([t.x, t.y, t.z]), rotation_matrix(*unit))
