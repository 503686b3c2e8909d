"""A running node's messages into the viewer."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from m2a_ros.process.visiting_node import visiting_node
from m2a_ros.view.rerun_sink import RerunSink
from m2a_ros.view.topics import COMPRESSED, IMAGE, MARKERS, ShownTopic, shown_topic

_TYPES = {IMAGE: Image, COMPRESSED: CompressedImage, MARKERS: MarkerArray}
_REFRESH_PERIOD_S = 1.0
_REFRESHES_OF_DISCOVERY = 3
"""Within so many, a node that runs has been discovered."""


class _Viewer:
    """Subscribes to what a node publishes, also to what comes later."""

    def __init__(self, node: Any, name: str, cameras: tuple[str, ...], sink: RerunSink) -> None:
        self.count = 0
        self._node, self._name, self._cameras, self._sink = node, name, cameras, sink
        self._read: set[str] = set()
        self._refreshed = 0
        self.refresh()
        node.create_timer(_REFRESH_PERIOD_S, self.refresh)

    def refresh(self) -> None:
        self._refreshed += 1
        for topic, types in self._node.get_topic_names_and_types():
            shown = shown_topic(topic, types[0], self._cameras, self._name)
            if shown and topic not in self._read:
                self._read.add(topic)
                # Markers tell changes only: none may be lost.
                reliable = shown.what == "unknown_markers"
                policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
                qos = QoSProfile(depth=10 if reliable else 1, reliability=policy)
                self._node.create_subscription(_TYPES[types[0]], topic, partial(self._show, shown), qos)
        if self._refreshed == _REFRESHES_OF_DISCOVERY and not self._read:
            cameras = f" for the cameras {', '.join(self._cameras)}" if self._cameras else ""
            print(
                f"m2a: note: no outputs of {self._name}{cameras} yet: it does not run, has another name (--node) "
                "or is in another ROS domain",
                file=sys.stderr,
            )

    def _show(self, topic: ShownTopic, message: Any) -> None:
        self._sink.show(topic, message)
        self.count += 1


def show_node(name: str, cameras: tuple[str, ...], sink: RerunSink, seconds: float | None) -> int:
    """Show a running node.

    Args:
        name: full name of the node, such as ``/m2a``.
        cameras: the cameras to show; () for all.
        sink: where to.
        seconds: end after so long; None for Ctrl-C.

    Returns:
        Number of messages.
    """
    with visiting_node("m2a_view") as (node, executor):
        viewer = _Viewer(node, f"/{name.strip('/')}", cameras, sink)
        end = None if seconds is None else time.monotonic() + seconds
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            while end is None or time.monotonic() < end:
                executor.spin_once(timeout_sec=0.1)
    return viewer.count
