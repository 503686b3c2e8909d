"""One camera's warnings in the log, few enough to read.

rclpy's own throttle is per line of code: cameras that share it would mute each other.
"""

from __future__ import annotations

import time

from rclpy.node import Node

from m2a_core.errors import one_line

PERIOD_S = 5.0


class CameraLog:
    """Warns at most once in ``PERIOD_S`` seconds."""

    def __init__(self, node: Node, camera: str) -> None:
        """Have the first warning go through.

        Args:
            node: to log with.
            camera: its name, which every warning begins with.
        """
        self._logger = node.get_logger()
        self._camera = camera
        self._next = float("-inf")

    def warn(self, problem: Exception) -> None:
        """Log what is wrong, unless another warning went out just before."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PERIOD_S
            self._logger.warning(f"camera '{self._camera}': {one_line(str(problem))}")
