"""Where cameras are: parameters, and tf2 against a buffer with tf2_ros's interface (tf2_ros itself is not on PyPI)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.clock import ROSClock
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time as RosTime
from std_msgs.msg import String

from m2a_core.errors import ConfigError
from m2a_core.geometry.projection import CameraPose, Mounting, quaternion, rotation_matrix
from m2a_core.stream.sensors import NoTransform
from m2a_ros.camera.extrinsics import ParameterExtrinsics, create_extrinsics, pose_of
from m2a_ros.parameters.declarations import all_parameters
from m2a_ros.parameters.settings import Settings

STAMP = Time(sec=7, nanosec=5)
SETTINGS = Settings.from_values({spec.name: spec.default for spec in all_parameters(["front"])})
HAS_TF = find_spec("tf2_ros") is not None


class TransformException(Exception):
    """Stands for tf2's."""


class ExtrapolationException(TransformException):
    """Stands for tf2's."""


class Buffer:
    """Answers ``lookup_transform`` from a table, as tf2_ros.Buffer does from /tf_static."""

    known: dict[tuple[str, str], Any] = {}
    asked: list[tuple[str, str, int]] = []
    nodes: list[Any] = []
    """The node that each buffer was made with."""
    newest_ns: int | None = None
    """Stamp of the newest transform; None: a static one, which has no end."""

    def __init__(self, node: Any = None) -> None:
        self.nodes.append(node)

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any) -> Any:
        self.asked.append((target_frame, source_frame, time.nanoseconds))
        if (target_frame, source_frame) not in self.known:
            raise TransformException(f'"{source_frame}" does not exist\nand its tree goes on for lines')
        if self.newest_ns is not None and time.nanoseconds > self.newest_ns:
            raise ExtrapolationException("into the future")
        seconds, nanoseconds = divmod(self.newest_ns or 0, 10**9)
        header = SimpleNamespace(stamp=Time(sec=seconds, nanosec=nanoseconds))
        return SimpleNamespace(header=header, transform=self.known[target_frame, source_frame])

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> Any:
        return RosTime(nanoseconds=self.newest_ns or 0)

    def clear(self) -> None:
        self.known.clear()


class TransformListener:
    registered: list[TransformListener] = []

    def __init__(self, buffer: Buffer, node: Any) -> None:
        self.registered.append(self)
        self.tf_sub = node.create_subscription(String, "/tf", lambda message: None, 1)

    def unregister(self) -> None:
        self.registered.remove(self)


@pytest.fixture
def tf(monkeypatch: pytest.MonkeyPatch) -> type[Buffer]:
    module = ModuleType("tf2_ros")
    module.__spec__ = ModuleSpec("tf2_ros", None)
    for thing in (Buffer, ExtrapolationException, TransformException, TransformListener):
        setattr(module, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    monkeypatch.setattr(Buffer, "known", {})
    monkeypatch.setattr(Buffer, "asked", [])
    monkeypatch.setattr(Buffer, "nodes", [])
    monkeypatch.setattr(TransformListener, "registered", [])
    monkeypatch.setattr(Buffer, "newest_ns", None)
    return Buffer


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    simulated = [Parameter("use_sim_time", value=True)]
    made = rclpy.create_node("tf_test", context=context, parameter_overrides=simulated)
    yield made
    made.destroy_node()
    rclpy.try_shutdown(context=context)


def transform(pose: CameraPose) -> Any:
    """A ``geometry_msgs/Transform``, its quaternion from the rotation's angle and axis."""
    w = np.sqrt(max(0.0, 1 + np.trace(pose.rotation))) / 2
    r = pose.rotation
    x, y, z = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) / (4 * w)
    translation = dict(zip("xyz", pose.position, strict=True))
    return SimpleNamespace(translation=SimpleNamespace(**translation), rotation=SimpleNamespace(x=x, y=y, z=z, w=w))


def test_parameters_place_the_camera_over_the_ground() -> None:
    settings = replace(SETTINGS, ground_z=-0.35, mounting={"front": Mounting(x=1.0, y=0.2, height=1.5, yaw=0.1)})
    pose = ParameterExtrinsics().pose("front", "any_frame", STAMP, settings)
    np.testing.assert_allclose(pose.position, [1.0, 0.2, 1.15])
    # The optical axis points where the camera looks: 0.1 rad to the left.
    np.testing.assert_allclose(pose.rotation @ [0, 0, 1], [np.cos(0.1), np.sin(0.1), 0], atol=1e-12)


@given(roll=st.floats(-3.15, 3.15), pitch=st.floats(-1.58, 1.58), yaw=st.floats(-3.15, 3.15))
def test_a_mounting_s_quaternion_is_its_rotation(roll: float, pitch: float, yaw: float) -> None:
    rotation = Mounting(roll=roll, pitch=pitch, yaw=yaw).pose().rotation
    found = quaternion(rotation)
    assert np.linalg.norm(found) == pytest.approx(1.0)
    assert found[3] >= 0
    np.testing.assert_allclose(rotation_matrix(*found), rotation, atol=1e-9)


@given(roll=st.floats(-0.5, 0.5), pitch=st.floats(-0.5, 0.5), yaw=st.floats(-1.0, 1.0))
@settings(max_examples=25)
def test_a_transform_is_the_pose_it_was_made_of(roll: float, pitch: float, yaw: float) -> None:
    pose = Mounting(x=1.7, y=-0.4, height=1.9, roll=roll, pitch=pitch, yaw=yaw).pose()
    found = pose_of(transform(pose))
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-9)
    np.testing.assert_allclose(found.position, pose.position)


def test_tf_is_asked_for_the_image_s_frame_at_its_stamp(tf: type[Buffer], node: Node) -> None:
    pose = Mounting(x=1.7, height=1.9, pitch=0.1).pose()
    tf.known["base_link", "front_optical"] = transform(pose)
    extrinsics = create_extrinsics(node, "auto")
    found = extrinsics.pose("front", "front_optical", STAMP, SETTINGS)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-9)
    assert tf.asked == [("base_link", "front_optical", 7_000_000_005)]
    assert tf.nodes == [None]
    assert len(TransformListener.registered) == 1
    extrinsics.close()
    assert TransformListener.registered == []


@pytest.mark.parametrize(("frame_id", "named"), [("lost_optical", "lost_optical"), ("", "frame_id")])
def test_a_frame_without_transform_says_so_in_one_line(tf: type[Buffer], node: Node, frame_id: str, named: str) -> None:
    extrinsics = create_extrinsics(node, "tf")
    with pytest.raises(NoTransform, match=named) as caught:
        extrinsics.pose("front", frame_id, STAMP, SETTINGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("older_ms", "answered"), [(0, True), (99, True), (101, False)])
def test_a_moving_camera_is_where_it_was_a_tenth_of_a_second_before_at_most(
    tf: type[Buffer], node: Node, older_ms: int, answered: bool
) -> None:
    pose = Mounting(x=1.7, height=1.9).pose()
    tf.known["base_link", "front_optical"] = transform(pose)
    tf.newest_ns = 7_000_000_005 - older_ms * 10**6
    extrinsics = create_extrinsics(node, "tf")
    if answered:
        found = extrinsics.pose("front", "front_optical", STAMP, SETTINGS)
        np.testing.assert_allclose(found.position, pose.position)
    else:
        with pytest.raises(NoTransform, match="into the future"):
            extrinsics.pose("front", "front_optical", STAMP, SETTINGS)


def listens_to_motion(node: Node) -> bool:
    return any(subscription.topic_name == "/tf" for subscription in node.subscriptions)


def test_moving_frames_are_listened_to_until_every_camera_is_fixed_and_again_when_one_is_lost(
    tf: type[Buffer], node: Node
) -> None:
    two = Settings.from_values({s.name: s.default for s in all_parameters(["a", "b"])} | {"cameras": ["a", "b"]})
    for frame in ("a_optical", "b_optical"):
        tf.known["base_link", frame] = transform(Mounting().pose())
    extrinsics = create_extrinsics(node, "tf")
    tf.newest_ns = 7_000_000_005
    extrinsics.pose("a", "a_optical", STAMP, two)
    tf.newest_ns = None
    extrinsics.pose("b", "b_optical", STAMP, two)
    assert listens_to_motion(node)  # Camera a moves.
    extrinsics.pose("a", "a_optical", STAMP, two)
    assert not listens_to_motion(node)
    with pytest.raises(NoTransform):
        extrinsics.pose("a", "pan_tilt", STAMP, two)
    assert listens_to_motion(node)
    extrinsics.close()


def test_when_time_jumps_back_what_tf_knew_is_forgotten_until_it_is_closed(tf: type[Buffer], node: Node) -> None:
    clock = node.get_clock()
    assert isinstance(clock, ROSClock)
    clock.set_ros_time_override(RosTime(seconds=1008, clock_type=clock.clock_type))
    extrinsics = create_extrinsics(node, "tf")
    tf.known["base_link", "front_optical"] = transform(Mounting().pose())
    clock.set_ros_time_override(RosTime(seconds=1009, clock_type=clock.clock_type))
    assert tf.known
    clock.set_ros_time_override(RosTime(seconds=900, clock_type=clock.clock_type))
    assert not tf.known
    extrinsics.close()
    tf.known["base_link", "front_optical"] = transform(Mounting().pose())
    clock.set_ros_time_override(RosTime(seconds=800, clock_type=clock.clock_type))
    assert tf.known


def test_parameters_are_used_where_they_are_asked_for(tf: type[Buffer]) -> None:
    assert isinstance(create_extrinsics(None, "parameters"), ParameterExtrinsics)


@pytest.mark.skipif(HAS_TF, reason="tf2_ros is installed here")
def test_without_tf2_parameters_stand_in_and_tf_is_refused() -> None:
    assert isinstance(create_extrinsics(None, "auto"), ParameterExtrinsics)
    with pytest.raises(ConfigError, match="tf2_ros"):
        create_extrinsics(None, "tf")


def test_names_of_rectified_cameras_must_be_cameras() -> None:
    values = {spec.name: spec.default for spec in all_parameters(["front"])}
    assert Settings.from_values({**values, "rectified_cameras": ["front"]}).rectified_cameras == ("front",)
    with pytest.raises(ConfigError, match="left"):
        Settings.from_values({**values, "rectified_cameras": ["left"]})


@pytest.mark.skipif(not HAS_TF, reason="needs tf2_ros of a ROS distribution")
def test_tf2_s_own_listener_takes_our_calls(node: Node) -> None:
    extrinsics = create_extrinsics(node, "tf")
    with pytest.raises(NoTransform, match="nowhere"):
        extrinsics.pose("front", "nowhere", STAMP, SETTINGS)
    extrinsics.close()
