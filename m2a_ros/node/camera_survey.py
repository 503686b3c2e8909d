"""Which cameras there are on the ROS graph: topics, types, quality of service, sizes, rates, calibration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from m2a_core.doctor.findings import Finding, Level
from m2a_core.errors import DataError, quoted
from m2a_core.geometry.intrinsics import Intrinsics, is_resized, size_of
from m2a_ros.camera.silence import cause_of_silence
from m2a_ros.camera.stamps import age_ms, stamp_to_ns
from m2a_ros.outputs.topics import is_output
from m2a_ros.process.qos import is_latched

_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_INFO = "sensor_msgs/msg/CameraInfo"
_OLD_MS = 1000.0
_PLACES = 'see "Which calibration" in docs/unknown_objects.md'


@dataclass
class HeardTopic:
    """What came on one image topic.

    Attributes:
        name: its name.
        type_name: of its messages.
        count: messages heard.
        first: when the first came, seconds on a monotonic clock.
        last: when the last came.
        latest: the last message; None before there is one.
    """

    name: str
    type_name: str
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    latest: Any = field(default=None, repr=False)

    def keep(self, message: Any) -> None:
        """Take a message."""
        now = time.monotonic()
        self.first = self.first or now
        self.count, self.last, self.latest = self.count + 1, now, message

    @property
    def rate(self) -> float | None:
        """Messages per second; None with fewer than two."""
        return (self.count - 1) / (self.last - self.first) if self.count > 1 and self.last > self.first else None


class CameraSurvey:
    """Listens to every image topic for a while."""

    def __init__(self, node: Node, spin: Callable[[float], None]) -> None:
        """Take a node.

        Args:
            node: to subscribe with.
            spin: handles what arrives, for so many seconds at most.
        """
        self._node, self._spin = node, spin

    def findings(self, seconds: float) -> Iterator[Finding]:
        """Discover, listen and judge.

        Args:
            seconds: how long to listen, after as long a time, 2 s at most, for discovery.
        """
        self._wait(min(2.0, seconds))
        names = {name: types for name, types in self._node.get_topic_names_and_types() if self._publishers(name)}
        images = [
            HeardTopic(name, t)
            for name, types in sorted(names.items())
            for t in types
            # To listen to what a node of m2a publishes would have it compute that.
            if t in _TYPES and not name.endswith("/compressedDepth") and not is_output(name, names)
        ]
        if not images:
            own = any(is_output(name, names) for name in names)
            yield Finding(
                "cameras",
                Level.NOTE,
                f"no image topic{' but those of m2a itself' if own else ''} has a publisher",
                "start the camera driver in the same ROS domain, or play a bag: ros2 bag play BAG",
            )
            return
        beside = {info_topic(topic.name) for topic in images}
        infos = {name: HeardTopic(name, _INFO) for name in beside if _INFO in names.get(name, ())}
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        subscriptions = {
            topic.name: self._node.create_subscription(_TYPES[topic.type_name], topic.name, topic.keep, qos)
            for topic in images
        }
        listening = list(subscriptions.values())
        listening += [
            self._node.create_subscription(CameraInfo, t.name, t.keep, self._info_qos(t.name)) for t in infos.values()
        ]
        self._wait(seconds)
        for topic in images:
            if topic.count:
                yield self._image(topic)
                yield calibration(topic, infos.get(info_topic(topic.name)))
            else:
                why = cause_of_silence(self._node, subscriptions[topic.name], _TYPES[topic.type_name])
                yield Finding(topic.name, Level.WARNING, f"nothing arrived within {seconds:g} s", why)
        for subscription in listening:
            self._node.destroy_subscription(subscription)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._spin(left)

    def _info_qos(self, name: str) -> QoSProfile:
        """What hears a calibration, one that was latched before too."""
        if any(map(is_latched, self._publishers(name))):
            durability = DurabilityPolicy.TRANSIENT_LOCAL
            return QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        return QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

    def _publishers(self, name: str) -> list[Any]:
        return list(self._node.get_publishers_info_by_topic(name))

    def _image(self, topic: HeardTopic) -> Finding:
        reliability = {p.qos_profile.reliability.name.lower() for p in self._publishers(topic.name)}
        latest, rate = topic.latest, topic.rate
        what = (
            f"{latest.width}x{latest.height} {quoted(latest.encoding)}"
            if topic.type_name.endswith("/Image")
            else f"{quoted(latest.format)}, {len(latest.data) / 2**10:.0f} KiB a frame"
        )
        text = f"{what}, {'one frame' if rate is None else f'{rate:.1f} Hz'}, {'/'.join(sorted(reliability))}"
        stamp = stamp_to_ns(latest.header.stamp)
        if stamp == 0:
            return Finding(
                topic.name, Level.WARNING, f"{text}; its stamps are zero", "have the driver stamp its images"
            )
        age = age_ms(stamp, self._node.get_clock().now().nanoseconds)
        if age is None or age > _OLD_MS:
            return Finding(
                topic.name,
                Level.NOTE,
                f"{text}; stamps are not current: a bag, or another clock",
                "for a bag: play it with --clock and set use_sim_time; between machines: synchronise clocks (chrony)",
            )
        return Finding(topic.name, Level.OK, f"{text}, {age:.0f} ms old on arrival")


def info_topic(image_topic: str) -> str:
    """Where image_transport's convention has the calibration of an image topic."""
    name = image_topic.removesuffix("/compressed")
    return f"{name.rpartition('/')[0]}/camera_info"


def calibration(image: HeardTopic, info: HeardTopic | None) -> Finding:
    """Judge the calibration of a camera; without one, markers have no place in metres."""
    subject, need = f"{image.name} calibration", "without it unknown objects get no position in metres"
    if info is None or info.latest is None:
        found = "no camera_info beside it" if info is None else f"{info.name} has a publisher, nothing arrived"
        return Finding(subject, Level.NOTE, f"{found}; {need}", f"publish camera_info beside the images; {_PLACES}")
    latest = info.latest
    if not latest.k[0]:
        return Finding(
            subject,
            Level.WARNING,
            f"K is zero: the driver is not calibrated; {need}",
            "ros2 run camera_calibration cameracalibrator, then load the file into the driver",
        )
    try:
        # By what holds for the node, which reads K and D, or P where it is told that images are rectified.
        Intrinsics.from_camera_info(latest, rectified="/image_rect" in image.name)
    except DataError as error:
        return Finding(subject, Level.WARNING, f"{error}; {need}", _PLACES)
    (width, height), sent = size_of(latest), image.latest
    if image.type_name.endswith("/Image") and not is_resized((width, height), (sent.width, sent.height)):
        return Finding(
            subject,
            Level.WARNING,
            f"for {width}x{height}, the image is {sent.width}x{sent.height}",
            "calibrate at the size that is sent, or set binning and roi in camera_info",
        )
    return Finding(subject, Level.OK, f"{quoted(latest.distortion_model)}, fx {latest.k[0]:.1f}")
