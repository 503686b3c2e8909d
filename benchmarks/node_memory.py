"""Memory of the node over many frames: the real node, every output heard, one frame sent when the last was answered.

    python -m benchmarks.node_memory --frames 20000                    # the small deterministic model of the tests
    python -m benchmarks.node_memory --frames 2000 --model m2a-edge --height 1080 --width 1920

Prints one line of JSON each tenth of the way and one at the end. ``slope_bytes_per_frame`` is the least-squares slope
of resident memory over the second half of the run, node, camera and listener together (they share a process);
``threads`` and ``files`` are those of the process. Flat means a slope within a few bytes of zero: one leaked header is
100 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from benchmarks.ros_overhead_roles import IN, OUTPUTS
from m2a_ros.node.node import M2aNode
from m2a_ros.process.allocation import keep_freed_memory
from m2a_ros.process.dds import local_environment
from test.tiny_bundle import write_tiny_bundle

SAMPLE_EVERY = 50
ANSWER_TIMEOUT_S = 2.0


class Run:
    """Node, camera and listener on one executor."""

    def __init__(self, model: str, size: tuple[int, int]) -> None:
        """Start all three."""
        parameters = {"model": model, "threads": 1, "diagnostics.period": 60.0}
        self.node = M2aNode(parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()])
        self.peer = rclpy.create_node("peer")
        self.executor = SingleThreadedExecutor()
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.node.start()
        self._images = self.peer.create_publisher(Image, f"{IN}/image", 1)
        self._infos = self.peer.create_publisher(CameraInfo, f"{IN}/camera_info", 1)
        self.answered = 0
        for topic, kind in OUTPUTS.values():
            self.peer.create_subscription(kind, topic, self._count if topic.endswith("anomaly_map") else _forget, 5)
        height, width = size
        # Road below, sky above and a red object on the road: what the small model knows and does not know.
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[: height // 2], pixels[height // 2 :] = (0, 0, 255), (0, 255, 0)
        pixels[height * 2 // 3 : height * 5 // 6, width // 2 : width * 5 // 8] = (255, 0, 0)
        self._image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=pixels.tobytes())
        matrix = [float(width), 0.0, width / 2, 0.0, float(width), height / 2, 0.0, 0.0, 1.0]
        self._info = CameraInfo(height=height, width=width, k=matrix)

    def frame(self) -> None:
        """Send a frame until it is answered."""
        target = self.answered + 1
        while self.answered < target:
            self._image.header.stamp = self._info.header.stamp = self.peer.get_clock().now().to_msg()
            self._infos.publish(self._info)
            self._images.publish(self._image)
            deadline = time.monotonic() + ANSWER_TIMEOUT_S
            while self.answered < target and time.monotonic() < deadline:
                self.executor.spin_once(timeout_sec=0.05)

    def _count(self, _: Image) -> None:
        self.answered += 1


def _forget(_: object) -> None:
    """Take a message and drop it."""


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--model", default="", help="bundle; default: the small model of the tests")
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--domain", type=int, default=96, help="ROS domain to be alone in")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or str(write_tiny_bundle(Path(folder) / "tiny"))
        keep_freed_memory()  # As the node's own process does.
        os.environ.update(local_environment(os.environ))
        rclpy.init(args=[], domain_id=args.domain)
        run = Run(model, (args.height, args.width))
        samples = []
        for number in range(1, args.frames + 1):
            run.frame()
            if number % SAMPLE_EVERY == 0:
                samples.append((number, resident_bytes()))
            if number % max(1, args.frames // 10) == 0:
                print(json.dumps({"frames": number, "rss_mib": round(resident_bytes() / 2**20, 2)}), flush=True)
        half = np.array(samples[len(samples) // 2 :], float)
        slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0]) if len(half) > 2 else float("nan")
        print(
            json.dumps(
                {
                    "frames": args.frames,
                    "size": f"{args.width}x{args.height}",
                    "slope_bytes_per_frame": round(slope, 2),
                    "threads": len(os.listdir("/proc/self/task")),
                    "files": len(os.listdir("/proc/self/fd")),
                }
            )
        )
        run.node.destroy_node()
        run.peer.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
