"""What is wrong around a node that works: no clock, another node of its name, a full disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from rclpy.node import Node

LEAST_FREE = 16 << 20
"""Bytes: below this, a disk that the node's process writes to counts as full."""


def problems_around(node: Node) -> list[str]:
    """What keeps a node's outputs from being of use, a line for each.

    Args:
        node: the node, active.
    """
    found = []
    if node.get_parameter("use_sim_time").value and node.get_clock().now().nanoseconds == 0:
        found.append(
            "use_sim_time is true and no time comes on /clock: play with --clock or start the simulator, or set it to "
            "false"
        )
    own = (node.get_name(), node.get_namespace())
    if (count := node.get_node_names_and_namespaces().count(own)) > 1:
        found.append(
            f"{count} nodes are named {node.get_fully_qualified_name()}: their outputs mix on the same topics; end "
            "one, or give each its own namespace (-r __ns:=/NAME)"
        )
    return found + full_disks(written_to(os.environ))


def written_to(environment: os._Environ[str] | dict[str, str]) -> list[tuple[Path, str]]:
    """Folders that a node's process writes to, and what for; see rcl_logging's get_logging_directory().

    Args:
        environment: of the process.
    """
    home = Path(environment.get("ROS_HOME") or Path.home() / ".ros")
    return [
        (Path(environment.get("ROS_LOG_DIR") or home / "log"), "logs are lost"),
        (Path("/dev/shm"), "DDS's shared memory fails: images get lost, and new nodes are not discovered"),
    ]


def full_disks(folders: Iterable[tuple[Path, str]], least: int = LEAST_FREE) -> list[str]:
    """What to say of folders on full disks.

    Args:
        folders: with what does not work where they are full; those that do not exist are left out.
        least: bytes that must be free.
    """
    found = []
    for folder, loss in folders:
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            continue
        if free < least:
            found.append(f"{folder}: {free / 2**20:.1f} MiB are free on this disk: {loss}; make room")
    return found
