"""Waits for the diagnostics of one node."""

from __future__ import annotations

import os
import time
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from m2a_ros.process.dds import profile_environment


def next_statuses(prefix: str, timeout_s: float) -> list[Any]:
    """The statuses of the next message that speaks of a node.

    Args:
        prefix: of the names of the node's statuses.
        timeout_s: seconds to wait.

    Returns:
        ``diagnostic_msgs/DiagnosticStatus``; empty when none came in time.
    """
    os.environ.update(profile_environment(os.environ))
    found: list[Any] = []

    def keep(message: DiagnosticArray) -> None:
        if any(status.name.startswith(prefix) for status in message.status):
            found[:] = message.status

    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("m2a_health", context=context)
    try:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        node.create_subscription(DiagnosticArray, "/diagnostics", keep, 10)
        deadline = time.monotonic() + timeout_s
        while not found and (left := deadline - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=min(left, 0.2))
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    return found
