"""Why no image comes although the topic has a publisher."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from m2a_ros.process.dds import DISCOVERY_SERVER

_SHARED_MEMORY = Path("/dev/shm")
_FAST_DDS_FILES = ("fastdds_*", "fastrtps_*")
_FOR_EVERYBODY = 0o006
_LEAST_SHARED_MEMORY = 128 * 2**20

LARGE_IMAGES = (
    "if its images are large, give the PUBLISHER a larger shared-memory segment (config/fastdds_profile.xml); else see "
    "whether it sends at all (ros2 topic hz)"
)


def cause_of_silence(node: Node, subscription: Subscription, wanted: type) -> str:
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
    return shared_memory_problem(_SHARED_MEMORY, os.getuid()) or LARGE_IMAGES


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


def shared_memory_problem(folder: Path, user: int) -> str:
    """What keeps Fast DDS from handing over messages in shared memory; "" where nothing is seen.

    Args:
        folder: where shared memory is mounted.
        user: id of the user that this process runs as.
    """
    try:
        files = [path.stat() for pattern in _FAST_DDS_FILES for path in folder.glob(pattern)]
        system = os.statvfs(folder)
    except OSError:
        return ""
    if others := sorted({f.st_uid for f in files if f.st_uid != user and f.st_mode & _FOR_EVERYBODY != _FOR_EVERYBODY}):
        return (
            f"shared memory of another user (id {', '.join(map(str, others))}; this process runs as {user}) cannot be "
            "opened: run the publisher and this node as the same user, or both with "
            "FASTDDS_BUILTIN_TRANSPORTS=UDPv4 and without a profile"
        )
    if system.f_frsize * system.f_blocks < _LEAST_SHARED_MEMORY:
        return f"{folder} is smaller than 128 MB, too little for shared memory: docker run --shm-size, or --ipc=host"
    return ""


def _matched(subscription: Subscription) -> bool:
    """Whether any publisher is connected; rclpy before Kilted cannot tell."""
    count = getattr(subscription, "get_publisher_count", None)
    return True if count is None else bool(count())
