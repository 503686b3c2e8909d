"""A node of a process that looks at others for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from m2a_ros.process.dds import profile_environment


@contextmanager
def visiting_node(name: str, domain: int | None = None) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """A node in a context of its own, and the executor that turns for it; both end with the block.

    Args:
        name: of the node.
        domain: the ROS domain; None for the environment's.
    """
    # Without the profile this process would be the reason that large images do not come.
    os.environ.update(profile_environment(os.environ))
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        node = rclpy.create_node(name, context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            yield node, executor
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)
