"""One camera's subscriptions: image topics into the frame slots, and the latest ``camera_info``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from m2a_core.stream.sensors import DepthBuffer
from m2a_ros.camera.frame_slot import NO_SUBSCRIBER, REPLACED, ReceivedImage, Slots
from m2a_ros.camera.heard_twice import HeardTwice
from m2a_ros.camera.receiver import Receiver
from m2a_ros.camera.silence import cause_of_silence, other_type
from m2a_ros.camera.stamps import StampCheck, stamp_to_ns
from m2a_ros.images.serialized import CompressedImageView, ImageView, view_compressed_image, view_image
from m2a_ros.process.message_cache import MessageCache
from m2a_ros.process.qos import create_latched_subscription, create_sensor_subscription, is_latched
from m2a_ros.process.statistics import CameraStatistics

CAMERA_INFO, DEPTH = "camera_info", "depth"
UNREADABLE = "bad_image.unreadable"
_MESSAGES = {"raw": Image, "compressed": CompressedImage}
_VIEWS = {Image: view_image, CompressedImage: view_compressed_image}
_PLAIN, _LATCHED = 0, 1
"""The two subscriptions to ``camera_info``."""


class CameraInput:
    """Subscriptions of one camera; exist while the node is active.

    Attributes:
        camera_info: the latest ``sensor_msgs/CameraInfo``, or None.
        depth: the latest depth images.
        frame_id: of the latest image, or empty.
    """

    def __init__(
        self,
        node: Node,
        receiver: Receiver,
        camera: str,
        transport: str,
        slots: Slots,
        statistics: CameraStatistics,
        is_heard: Callable[[], bool],
    ) -> None:
        """Subscribe.

        Args:
            node: the node to subscribe with.
            receiver: takes the messages.
            camera: name of the camera.
            transport: ``raw``, ``compressed`` or ``auto``.
            slots: where messages go.
            statistics: where arrivals are counted.
            is_heard: whether an output of the camera has a subscriber; if none has, images wake no thread.

        Raises:
            ConfigError: a QoS override is impossible.
        """
        self.camera_info: CameraInfo | None = None
        self.depth = DepthBuffer()
        self.frame_id = ""
        self._node = node
        self._receiver = receiver
        self._is_heard = is_heard
        self._subscriptions: list[Subscription[Any]] = []
        self._camera = camera
        self._slots = slots
        self._statistics = statistics
        self._stamps = StampCheck()
        self._topics = {"raw": f"~/input/{camera}/image", "compressed": compressed_topic(node, camera)}
        self._info_topic = f"~/input/{camera}/camera_info"
        self._latched_info: Subscription[Any] | None = None
        self._infos, self._heard_twice = MessageCache(CameraInfo), HeardTwice()
        self._auto = transport == "auto"
        self._transport = "raw" if self._auto else transport
        try:
            if self._auto:
                # Shows an impossible QoS override now and not when the camera turns out to be compressed.
                self._unsubscribe(self._subscribe_images("compressed"))
            self._images = self._subscribe_images(self._transport)
            self._subscribe(CameraInfo, self._info_topic, self._keep_info, self._unreadable(CAMERA_INFO))
            self._subscribe(Image, f"~/input/{camera}/depth", self._keep_depth, self._unreadable(DEPTH))
        except BaseException:
            self.destroy()
            raise
        self.follow_publishers()

    @property
    def topic(self) -> str:
        """The image topic that is read, resolved."""
        return self._images.topic_name

    def publisher_count(self) -> int:
        """How many publishers the image topic has."""
        return self._node.count_publishers(self.topic)

    def cause_of_silence(self) -> str:
        """The likeliest reason why the image topic's publisher is not heard."""
        return cause_of_silence(self._node, self._images, _MESSAGES[self._transport])

    def follow_publishers(self) -> None:
        """Hear a latched ``camera_info``; with ``auto`` read the image topic that has a publisher, raw first."""
        if self._latched_info is None and any(map(is_latched, self._publishers(self._info_topic))):
            unreadable = self._unreadable(CAMERA_INFO)
            reading = partial(self._read_info, _LATCHED)
            self._latched_info = create_latched_subscription(
                self._node, CameraInfo, self._info_topic, self._keep_info, unreadable, reading, self._receiver.group
            )
            self._subscriptions.append(self._latched_info)
            self._receiver.add(self._latched_info, unreadable)
        if not self._auto:
            return
        heard = (name for name, kind in _MESSAGES.items() if self._carries(self._topics[name], kind))
        wanted = next(heard, self._transport)
        if wanted != self._transport:
            self._unsubscribe(self._images)
            self._transport = wanted
            self._images = self._subscribe_images(wanted)

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in list(self._subscriptions):
            self._unsubscribe(subscription)

    def _publishers(self, topic: str) -> list[Any]:
        return self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))

    def _carries(self, topic: str, kind: type) -> bool:
        publishers = self._publishers(topic)
        return bool(publishers) and not other_type(publishers, kind)

    def _subscribe_images(self, transport: str) -> Subscription[Any]:
        return self._subscribe(_MESSAGES[transport], self._topics[transport], self._keep_image, self._drop_image)

    def _subscribe(
        self, kind: type, topic: str, callback: Any, on_unreadable: Callable[[str], None]
    ) -> Subscription[Any]:
        subscription = create_sensor_subscription(
            self._node,
            kind,
            topic,
            callback,
            on_unreadable,
            self._statistics.qos_mismatch,
            partial(self._read_info, _PLAIN) if kind is CameraInfo else _VIEWS[kind],
            self._receiver.group,
        )
        self._subscriptions.append(subscription)
        self._receiver.add(subscription, on_unreadable)
        return subscription

    def _unsubscribe(self, subscription: Subscription[Any]) -> None:
        self._node.destroy_subscription(subscription)
        self._subscriptions.remove(subscription)
        self._receiver.remove(subscription)

    def _keep_image(self, message: Image | CompressedImage | ImageView | CompressedImageView) -> None:
        image = ReceivedImage(self._camera, message)
        self._statistics.arrived(image.received_at)
        self.frame_id = message.header.frame_id
        stamp_ns, now_ns = stamp_to_ns(message.header.stamp), self._node.get_clock().now().nanoseconds
        if reason := self._stamps.judge(stamp_ns, now_ns):
            self._statistics.odd_stamp(reason)
        if not self._is_heard():
            self._statistics.dropped(NO_SUBSCRIBER)
        elif self._slots.put(image):
            self._statistics.dropped(REPLACED)

    def _drop_image(self, error: str) -> None:
        self._statistics.arrived(time.monotonic())
        self._statistics.dropped(UNREADABLE, f"camera '{self._camera}': {error}")

    def _unreadable(self, what: str) -> Callable[[str], None]:
        return lambda error: self._statistics.unreadable(what)

    def _read_info(self, subscription: int, data: memoryview) -> tuple[CameraInfo, bool]:
        return self._infos(data), self._heard_twice.is_new(subscription, data)

    def _keep_info(self, read: tuple[CameraInfo, bool]) -> None:
        self.camera_info, is_new = read
        if is_new:
            self._statistics.camera_info_arrived()

    def _keep_depth(self, message: Image | ImageView) -> None:
        self.depth.put(stamp_to_ns(message.header.stamp), message)


def compressed_topic(node: Node, camera: str) -> str:
    """Where a camera's compressed images come from, resolved.

    As with image_transport a remapping of the image topic carries over: it is read from that name + ``/compressed``,
    unless the compressed topic is remapped itself.
    """
    own = f"~/input/{camera}/image/compressed"
    if (resolved := node.resolve_topic_name(own)) != node.resolve_topic_name(own, only_expand=True):
        return resolved
    return node.resolve_topic_name(f"~/input/{camera}/image") + "/compressed"
