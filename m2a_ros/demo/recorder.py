"""The consumer in the demo, a process of its own: notes when each output came, and keeps each clip frame's maps once.

Light on purpose, for it shares the machine with what it measures: pixels are only copied, and written after the end.
Prints ``ready`` once the node publishes every output; SIGINT ends it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from m2a_ros.demo.records import MARKERS, MATCH_TIMEOUT_S, TOPICS, Received, read_sent
from m2a_ros.images.conversions import image_to_array

EXIT_UNMATCHED = 3
_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Recorder:
    """Subscribes to outputs and keeps what comes.

    Attributes:
        received: every message, in order of arrival.
        maps: per clip frame, the arrays of one sent frame by output name.
    """

    def __init__(self, node: Node, outputs: tuple[str, ...], sent: Path) -> None:
        """Subscribe.

        Args:
            node: the node to subscribe with.
            outputs: short names of the outputs.
            sent: file in which the player notes stamps before it sends a frame.
        """
        self.received: list[Received] = []
        self.maps: dict[int, dict[str, np.ndarray]] = {}
        self._node = node
        self._sent = sent
        self._frames: dict[int, int] = {}
        self._chosen: dict[int, int] = {}
        for name in outputs:
            callback: Callable[[Any], None] = self._markers if name == MARKERS else partial(self._image, name)
            node.create_subscription(MarkerArray if name == MARKERS else Image, TOPICS[name], callback, _QOS)

    def _image(self, name: str, message: Image) -> None:
        now = self._node.get_clock().now().nanoseconds
        stamp = Time.from_msg(message.header.stamp).nanoseconds
        self.received.append(Received(name, stamp, message.header.frame_id, now))
        if stamp not in self._frames:
            self._frames |= {s.stamp: s.clip_frame for s in read_sent(self._sent)}
        frame = self._frames.get(stamp)
        if frame is not None and self._chosen.setdefault(frame, stamp) == stamp:
            # The array shares memory with the message, which lives on with it: no copy.
            self.maps.setdefault(frame, {})[name] = image_to_array(message)

    def _markers(self, message: MarkerArray) -> None:
        now = self._node.get_clock().now().nanoseconds
        header = message.markers[0].header if message.markers else None
        stamp = Time.from_msg(header.stamp).nanoseconds if header else 0
        frame_id = header.frame_id if header else ""
        self.received.append(Received(MARKERS, stamp, frame_id, now, len(message.markers)))

    def save(self, folder: Path) -> None:
        """Write ``received.csv`` and ``NNN.npz`` per clip frame."""
        folder.mkdir(parents=True, exist_ok=True)
        for frame, arrays in self.maps.items():
            np.savez(folder / f"{frame:03d}.npz", allow_pickle=False, **arrays)
        with (folder / "received.csv").open("w", encoding="utf-8") as file:
            file.writelines(record.line() for record in self.received)


def wait_for_node(node: Node, outputs: tuple[str, ...]) -> bool:
    """Wait until every output has a publisher; False when it takes too long."""
    deadline = time.monotonic() + MATCH_TIMEOUT_S
    while rclpy.ok() and time.monotonic() < deadline:
        if all(node.count_publishers(TOPICS[name]) for name in outputs):
            return True
        time.sleep(0.05)
    return False


def main() -> int:
    """Record until SIGINT; 3 when the node does not publish."""
    parser = argparse.ArgumentParser(prog="python -m m2a_ros.demo.recorder", description=__doc__)
    parser.add_argument("--outputs", nargs="+", choices=sorted(TOPICS), required=True)
    parser.add_argument("--sent", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    outputs = tuple(args.outputs)
    rclpy.init()
    node = Node("m2a_demo_recorder")
    recorder = Recorder(node, outputs, args.sent)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not wait_for_node(node, outputs):
            return EXIT_UNMATCHED
        print("ready", flush=True)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    recorder.save(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
