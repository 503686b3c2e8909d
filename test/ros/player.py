"""A publisher in a process of its own: obeys JSON lines on stdin, answers each with one line on stdout."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

import rclpy

MATCH_TIMEOUT_S = 30.0


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("player")
    publishers = {}
    for line in sys.stdin:
        order = json.loads(line)
        topic = order["topic"]
        if topic not in publishers:
            package, name = order["type"].split("/")
            publishers[topic] = node.create_publisher(getattr(import_module(f"{package}.msg"), name), topic, 10)
        deadline = time.monotonic() + MATCH_TIMEOUT_S
        while publishers[topic].get_subscription_count() == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        for path in order["files"]:
            publishers[topic].publish(Path(path).read_bytes())
            time.sleep(order["pause"])
        print("done", flush=True)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
