"""What is wrong around a node that works: no clock, another node of its name."""

from __future__ import annotations

from rclpy.node import Node


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
    return found
