"""Console script ``m2a_node``: the node in a process of its own."""

from __future__ import annotations

import os
import sys

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.utilities import remove_ros_args

from m2a_ros.dds import profile_environment
from m2a_ros.node import M2aNode

USAGE = """usage: m2a_node [--ros-args ...]

Open-set perception node: reads camera images, publishes anomaly maps, open-set masks and markers of unknown objects.
Parameters and topics: config/m2a.param.yaml and docs; everything is set the ROS way, for example
  m2a_node --ros-args --params-file config/m2a.param.yaml -r ~/input/front/image:=/camera/image_raw
"""


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: command line without the program's name; None for the process's own.

    Returns:
        Exit code: 0 after a requested end, 2 for a wrong command line.
    """
    argv = sys.argv[1:] if args is None else args
    rest = remove_ros_args([sys.argv[0], *argv])[1:]
    if rest:
        if rest[0] in ("-h", "--help"):
            print(USAGE)
            return 0
        print(f"m2a_node: unknown argument {rest[0]}\n\n{USAGE}", file=sys.stderr)
        return 2
    os.environ.update(profile_environment(os.environ))
    rclpy.init(args=[sys.argv[0], *argv])
    try:
        _run()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # A signal shuts ROS down at any moment; what is being created then fails with rclpy's RCLError.
        if rclpy.ok():
            raise
    finally:
        rclpy.try_shutdown()
    return 0


def _run() -> None:
    node = M2aNode()
    try:
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.start()
        executor.spin()
    finally:
        node.destroy_node()


if __name__ == "__main__":
    sys.exit(main())
