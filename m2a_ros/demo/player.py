"""The camera of the demo, a process of its own: publishes a clip forth and back at a fixed rate, stamped on sending.

Every stamp is written to a file before its frame goes out; progress goes to stdout, one number of sent frames a line.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from m2a_core.compose.clip import Clip, load_clip, ping_pong
from m2a_core.compose.ground import GroundCamera
from m2a_ros.demo.records import FRAME_ID, IMAGE_TOPIC, INFO_TOPIC, MATCH_TIMEOUT_S, Sent
from m2a_ros.images.conversions import fill_image

EXIT_UNMATCHED = 3
_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


def camera_info(camera: GroundCamera) -> CameraInfo:
    """The camera's calibration: a pinhole without distortion."""
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = FRAME_ID
    (cx, cy), f = camera.center, camera.focal
    info.k = [f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def messages(clip: Clip) -> list[Image]:
    """One rgb8 message per frame of the clip, ready but for the stamp."""
    result = []
    for i in range(len(clip)):
        message = Image()
        message.header.frame_id = FRAME_ID
        fill_image(message, clip.image(i), "rgb8")
        result.append(message)
    return result


def wait_for_readers(publishers: list[Publisher]) -> bool:
    """Wait until every publisher has a reader; False when it takes too long or the process is told to end."""
    deadline = time.monotonic() + MATCH_TIMEOUT_S
    while rclpy.ok() and time.monotonic() < deadline:
        if all(p.get_subscription_count() > 0 for p in publishers):
            return True
        time.sleep(0.05)
    return False


def play(node: Node, clip: Clip, rate: float, duration: float, log: Path) -> int:
    """Play the clip; see the module.

    Args:
        node: the node to publish with.
        clip: the clip.
        rate: frames per second.
        duration: seconds.
        log: file for the stamps, appended to.

    Returns:
        The exit code.
    """
    images, info = messages(clip), camera_info(clip.camera)
    image_publisher = node.create_publisher(Image, IMAGE_TOPIC, _QOS)
    info_publisher = node.create_publisher(CameraInfo, INFO_TOPIC, _QOS)
    if not wait_for_readers([image_publisher, info_publisher]):
        return EXIT_UNMATCHED
    total = max(1, round(rate * duration))
    start = time.monotonic()
    with log.open("a", encoding="utf-8") as sent:
        for i in range(total):
            time.sleep(max(0.0, start + i / rate - time.monotonic()))
            if not rclpy.ok():
                return 0
            frame = ping_pong(len(clip), i)
            stamp = node.get_clock().now()
            sent.write(Sent(stamp.nanoseconds, frame).line())
            sent.flush()
            info.header.stamp = images[frame].header.stamp = stamp.to_msg()
            info_publisher.publish(info)
            image_publisher.publish(images[frame])
            print(i + 1, flush=True)
    return 0


def main() -> int:
    """Play until the end or until told to stop; 3 when nobody listens."""
    parser = argparse.ArgumentParser(prog="python -m m2a_ros.demo.player", description=__doc__)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--duration", type=float, required=True)
    parser.add_argument("--log", type=Path, required=True)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rclpy.init()
    node = Node("m2a_demo_player")
    try:
        return play(node, load_clip(args.clip), args.rate, args.duration, args.log)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
