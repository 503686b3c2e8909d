"""Why no image comes although the topic has a publisher."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from m2a_ros.process.dds import DISCOVERY_SERVER
from m2a_ros.process.shared_memory import SHARED_MEMORY, shared_memory_problem

LARGE_IMAGES = (
    "if its images are large, give the PUBLISHER a larger shared-memory segment (config/fastdds_profile.xml); else see "
    "whether it sends at all (ros2 topic hz)"
)


def cause_of_silence(node: Node, subscription: Subscription[Any], wanted: type) -> str:
    """The likeliest reason why nothing comes, and what to do about it.

    Args:
        node: whose subscription it is.
        subscription: of a camera's images.
        wanted: type of its messages.
    """
    topic = subscription.topic_name
    publishers = node.get_publishers_info_by_topic(topic)
    if other := other_type(publishers, wanted):
        return other
    if not _matched(subscription):
        server = os.environ.get(DISCOVERY_SERVER)
        return (
            f"its publisher is known but not connected: {DISCOVERY_SERVER} is '{server}' here; set the same for both, "
            "or for neither"
            if server
            else "its publisher is known but not connected: check its quality of service (ros2 topic info --verbose)"
        )
    return shared_memory_problem(SHARED_MEMORY, os.getuid()) or LARGE_IMAGES


def other_type(publishers: Iterable[Any], wanted: type) -> str:
    """What is wrong if every publisher sends messages of another type; else "".

    Args:
        publishers: ``rclpy.topic_endpoint_info.TopicEndpointInfo``.
        wanted: type of the messages that are read.
    """
    package = wanted.__module__.partition(".")[0]
    name = f"{package}/msg/{wanted.__name__}"
    types = sorted({publisher.topic_type for publisher in publishers})
    if not types or name in types:
        return ""
    hint = {
        "sensor_msgs/msg/CompressedImage": "remap ~/input/CAMERA/image to the name without /compressed",
        "sensor_msgs/msg/Image": "remap ~/input/CAMERA/image to it, or set transport to raw",
    }.get(types[0], "remap the topic to one of images")
    return f"it carries {', '.join(types)} and not {name}: {hint}"


def _matched(subscription: Subscription[Any]) -> bool:
    """Whether any publisher is connected; rclpy before Kilted cannot tell."""
    count = getattr(subscription, "get_publisher_count", None)
    return True if count is None else bool(count())
