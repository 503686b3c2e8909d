"""Waits for the diagnostics of one node."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from m2a_ros.process.visiting_node import visiting_node


def next_statuses(prefix: str, timeout_s: float) -> list[Any]:
    """The statuses of the next message that speaks of a node.

    Args:
        prefix: of the names of the node's statuses.
        timeout_s: seconds to wait.

    Returns:
        ``diagnostic_msgs/DiagnosticStatus``; empty when none came in time.
    """
    found: list[Any] = []

    def keep(message: DiagnosticArray) -> None:
        if any(status.name.startswith(prefix) for status in message.status):
            found[:] = message.status

    with visiting_node("m2a_health") as (node, executor):
        node.create_subscription(DiagnosticArray, "/diagnostics", keep, 10)
        deadline = time.monotonic() + timeout_s
        while not found and (left := deadline - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=min(left, 0.2))
    return found
