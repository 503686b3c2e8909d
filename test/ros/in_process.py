"""Nodes under test beside one that plays camera and listener, in this process, over real DDS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from m2a_ros.node.node import M2aNode
from test.ros.harness import PATIENCE_S

RED_BOX = (56, 64, 72, 80)


class Nodes:
    """Nodes under test, and one that plays camera and listener, on one executor."""

    def __init__(self, domain: int, model: Path) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.peer = rclpy.create_node("peer", context=self.context)
        self.executor.add_node(self.peer)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._model = model
        self._nodes: list[M2aNode] = []
        self.senders: dict[str, Any] = {}

    def start(self, namespace: str = "", ros_arguments: Sequence[str] = (), **parameters: Any) -> M2aNode:
        values = {"model": str(self._model), "threads": 1, "diagnostics.period": 0.1, **parameters}
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        arguments = ["--ros-args", *ros_arguments]
        node = M2aNode(context=self.context, namespace=namespace, parameter_overrides=overrides, cli_args=arguments)
        self._nodes.append(node)
        self.executor.add_node(node)
        node.start()
        assert node.state == "active", node.problem
        return node

    def listen(self, topic: str, kind: type, qos: QoSProfile | int = 5) -> list[Any]:
        self.peer.create_subscription(kind, topic, self.received[topic].append, qos)
        return self.received[topic]

    def send(self, topic: str, message: Any, qos: QoSProfile | int = 1) -> None:
        if topic not in self.senders:
            self.senders[topic] = self.peer.create_publisher(type(message), topic, qos)
        self.senders[topic].publish(message)

    def until(self, test: Callable[[], Any], send: Callable[[], None] = lambda: None) -> Any:
        """Spin until the test gives something, sending every tenth of a second."""
        for _ in range(int(10 * PATIENCE_S)):
            send()
            for _ in range(5):
                self.executor.spin_once(timeout_sec=0.02)
                if found := test():
                    return found
        counts = {topic: len(got) for topic, got in self.received.items()}
        raise AssertionError(f"in vain; received {counts}")

    def answer(self, topic: str, message: Any, to: str) -> Any:
        """Send a message until it is answered on a topic that is listened to."""
        got = self.received[topic]
        return self.until(
            lambda: next((m for m in got if m.header.stamp == message.header.stamp), None),
            lambda: self.send(to, message),
        )

    def status(self, name: str) -> dict[str, str]:
        for array in reversed(self.received["/diagnostics"]):
            for status in array.status:
                if status.name == name:
                    values = {pair.key: pair.value for pair in status.values}
                    return {**values, "message": status.message, "level": str(int.from_bytes(status.level, "little"))}
        return {}

    def close(self) -> None:
        self.executor.shutdown()
        for node in (*self._nodes, self.peer):
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


def ids(message: Image) -> np.ndarray:
    return np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width)
