"""Processor time of one 1080p frame by stage, on one thread: every output is heard, the network is the stand-in.

    python benchmarks/stage_cost.py [--resolution network|image] [--camera-graph] [--frames 60]

``time.thread_time`` around the node's own functions, medians: a busy machine adds little. Taking the message and the
middleware's threads come on top; benchmarks/real_time.py has the whole process. Prints one line of JSON, milliseconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

import cv2
import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from benchmarks.real_time import OUTPUTS
from benchmarks.real_time_roles import model_of, stand_in, topic_of
from benchmarks.stand_in import DEMO_FRAME
from m2a_core.images import read_image
from m2a_ros.camera.frame_slot import ReceivedImage
from m2a_ros.node import model
from m2a_ros.node.node import M2aNode
from m2a_ros.process.allocation import keep_freed_memory
from m2a_ros.process.dds import local_environment

HEIGHT, WIDTH = 1080, 1920
STAGES = {
    "image checks": "m2a_core.stream.image_quality:ImageQuality.judge",
    "letterbox": "m2a_core.preprocess:Letterbox.fit",
    "heads": "m2a_core.openset.head:OpenSetHead.compute",
    "tracks and places": "m2a_core.stream.camera_stream:CameraStream.track",
    "maps": "m2a_ros.outputs.publishers:CameraOutputs._publish_maps",
    "maps, enlarged": "m2a_ros.outputs.publishers:CameraOutputs._publish_enlarged",
    "markers": "m2a_ros.outputs.publishers:CameraOutputs._publish_objects",
    "overlay": "m2a_ros.outputs.publishers:CameraOutputs._publish_overlay",
    "all of it: prepare": "m2a_ros.node.pipeline:CameraPipeline.prepare",
    "all of it: finish": "m2a_ros.node.pipeline:CameraPipeline.finish",
    "all of it: publish": "m2a_ros.node.pipeline:CameraPipeline.publish",
}
"""Functions by what they do."""


def measured(laps: list[float], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its time of this thread noted down."""

    def timed(*args: Any, **options: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*args, **options)
        finally:
            laps.append(1e3 * (time.thread_time() - start))

    return timed


def measure_stages() -> dict[str, list[float]]:
    """Have every stage measured from now on."""
    laps: dict[str, list[float]] = {name: [] for name in STAGES}
    for name, where in STAGES.items():
        module, _, path = where.partition(":")
        owner, function = path.split(".")
        kind = getattr(importlib.import_module(module), owner)
        setattr(kind, function, measured(laps[name], getattr(kind, function)))
    return laps


def main() -> None:
    """Process frames one after the other and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", default="network", help="output.resolution (default: %(default)s)")
    parser.add_argument("--camera-graph", action="store_true", help="see benchmarks/real_time.py")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--domain", type=int, default=97, help="ROS domain to be alone in")
    args = parser.parse_args()
    os.environ.update(local_environment(os.environ))
    keep_freed_memory()
    rclpy.init(args=[], domain_id=args.domain)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "camera_graph": args.camera_graph,
            "size": [HEIGHT, WIDTH],
            "milliseconds": {1: 0.0},
            "busy_file": f"{folder}/busy",
        }
        model.create_runtime_or_fall_back = lambda bundle, *_, **__: (  # type: ignore[assignment]
            stand_in(settings, bundle),
            "stand_in",
        )
        parameters = {
            "model": str(model_of(settings, Path(folder))),
            "cameras": ["front"],
            "extrinsics": "parameters",
            "output.resolution": args.resolution,
            "horizon.window": False,
        }
        node = M2aNode(parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()])
        node.start()
    assert node.state == "active", node.problem
    reader = rclpy.create_node("reader")
    for topic, kind in (topic_of("front", output) for output in OUTPUTS):
        reader.create_subscription(kind, topic, lambda _: None, 1, raw=True)
    publishers = {publisher.topic_name: publisher for publisher in node.publishers}
    while not all(publishers[topic_of("front", output)[0]].get_subscription_count() for output in OUTPUTS):
        time.sleep(0.05)
    image = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
    pixels = cv2.resize(read_image(DEMO_FRAME), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image.data.frombytes(pixels.tobytes())
    image.header.frame_id = "optical"
    matrix = [float(WIDTH), 0.0, WIDTH / 2, 0.0, float(WIDTH), HEIGHT / 2, 0.0, 0.0, 1.0]
    node.inputs["front"].camera_info = CameraInfo(height=HEIGHT, width=WIDTH, k=matrix)
    laps = measure_stages()
    for number in range(args.frames + 5):
        if number == 5:  # Buffers are filled, objects tracked.
            for times in laps.values():
                times.clear()
        image.header.stamp = node.get_clock().now().to_msg()
        job = node.pipelines["front"].prepare(ReceivedImage("front", image), node.config, node.inputs["front"])
        node.config.perception.run([job.task])
        node.pipelines["front"].publish(node.pipelines["front"].finish(job))
        time.sleep(0.01)
    print(json.dumps({name: round(median(times), 2) for name, times in laps.items() if times}))
    node.destroy_node()
    reader.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
