"""CPU time that one 1080p frame costs the node's worker thread beside the network, and a plain rclpy node for the same.

    python -m benchmarks.frame_cost

Both publish one constant result on every output to readers over DDS: the node through its own pipeline, the other as in
``ros_overhead.py`` (``msg.data = array``). Times are those of the publishing thread (``time.thread_time``), median and
least of the repeats, so that a busy machine adds little; taking the image off DDS and the middleware's own threads come
on top, see ``ros_overhead.py`` for the whole process. Prints one line of JSON a side, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

import m2a_ros.node.node
from benchmarks.ros_overhead_roles import OUTPUTS, ConstantModel, UsualNode
from m2a_ros.camera.frame_slot import ReceivedImage
from m2a_ros.process.dds import local_environment

MATCH_TIMEOUT_S = 60.0


def images(height: int, width: int) -> tuple[Image, CameraInfo]:
    """A camera's messages: a smooth picture, for noise is no JPEG's everyday work."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) // 16 % 256], axis=2).astype(np.uint8)
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.data.frombytes(pixels.tobytes())
    matrix = [float(width), 0.0, width / 2, 0.0, float(width), height / 2, 0.0, 0.0, 1.0]
    return image, CameraInfo(height=height, width=width, k=matrix)


def timed(side: str, frame: Callable[[], None], repeats: int) -> float:
    """Print what a frame costs and give the median, milliseconds."""
    costs = []
    for _ in range(repeats):
        start = time.thread_time()
        frame()
        costs.append(1e3 * (time.thread_time() - start))
    print(
        json.dumps(
            {"side": side, "frames": repeats, "median_ms": round(median(costs), 2), "least_ms": round(min(costs), 2)}
        ),
        flush=True,
    )
    return median(costs)


def wait_for_readers(node: rclpy.node.Node) -> None:
    """Until every output is heard."""
    publishers = {publisher.topic_name: publisher for publisher in node.publishers}
    deadline = time.monotonic() + MATCH_TIMEOUT_S
    while not all(publishers[topic].get_subscription_count() for topic, _ in OUTPUTS.values()):
        if time.monotonic() > deadline:
            raise SystemExit("the outputs found no reader")
        time.sleep(0.05)


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60, help="frames of the node")
    parser.add_argument("--usual-repeats", type=int, default=3, help="frames of the plain node: seconds each")
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--domain", type=int, default=95, help="ROS domain to be alone in")
    args = parser.parse_args()
    os.environ.update(local_environment(os.environ))
    rclpy.init(args=[], domain_id=args.domain)
    reader = rclpy.create_node("reader")
    for topic, kind in OUTPUTS.values():
        reader.create_subscription(kind, topic, lambda _: None, 1)
    ConstantModel.size = (args.height, args.width)
    m2a_ros.node.node.LoadedModel = ConstantModel  # type: ignore[misc,assignment]
    image, info = images(args.height, args.width)
    ours = {}
    for width in (960, 0):
        node = m2a_ros.node.node.M2aNode(parameter_overrides=[Parameter("overlay.max_width", value=width)])
        node.start()
        wait_for_readers(node)
        node.inputs["front"].camera_info = info

        def frame(node: m2a_ros.node.node.M2aNode = node) -> None:
            image.header.stamp = node.get_clock().now().to_msg()
            pipeline = node.pipelines["front"]
            job = pipeline.prepare(ReceivedImage("front", image), node.config, node.inputs["front"])
            pipeline.finish(job)

        frame()  # Fills the buffers that are kept.
        ours[width] = timed(f"node, overlay.max_width {width}", frame, args.repeats)
        node.destroy_node()
    usual = UsualNode(args.height, args.width)
    wait_for_readers(usual)
    theirs = timed("usual", lambda: usual._answer(image), args.usual_repeats)
    for width, cost in ours.items():
        print(f"CPU per frame, the usual way : the node with overlay.max_width {width} = {theirs / cost:.0f} : 1")
    usual.destroy_node()
    reader.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
