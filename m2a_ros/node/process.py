"""The node's process: memory, Fast DDS profile, ROS start and end, signals."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import remove_ros_args

from m2a_core.errors import ConfigError
from m2a_ros.node.node import M2aNode
from m2a_ros.node.surroundings import written_to
from m2a_ros.process.allocation import keep_freed_memory
from m2a_ros.process.dds import profile_environment
from m2a_ros.process.executor import SurvivingExecutor
from m2a_ros.process.shared_memory import remove_left_segments
from m2a_ros.process.signals import interrupted, raise_if_interrupted

_PAUSE_S = 0.05
"""After a failure that may come again at once."""


def command_line_rest(argv: list[str]) -> list[str]:
    """The arguments that are not ROS's, without the program's name.

    Raises:
        ConfigError: the ROS arguments are wrong, or name a file that cannot be read.
    """
    try:
        rest: list[str] = remove_ros_args(argv)[1:]
    except RuntimeError as error:  # rclpy's own class for it differs between distributions
        raise ConfigError(f"wrong ROS arguments: {error}") from error
    return rest


def run(argv: list[str]) -> int:
    """Run the node until SIGINT or SIGTERM, or until only a new process can go on.

    Args:
        argv: the command line with ROS's arguments.

    Returns:
        Exit code: 0 after a requested end, that of ``RestartNeededError`` where a new process is needed.
    """
    keep_freed_memory()
    os.environ.update(profile_environment(os.environ))
    # A supervisor restarts a node that was killed: its segments would fill the memory, one restart after the other.
    if freed := remove_left_segments():
        print(f"m2a_node: {freed / 2**20:.0f} MiB of shared memory freed, left by killed processes", file=sys.stderr)
    context = rclpy.get_default_context()
    rclpy.init(args=[*argv, *_without_log_file()])
    try:
        raise_if_interrupted()
        return _spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # A signal shuts ROS down at any moment; what is being created then fails with rclpy's RCLError.
        if rclpy.ok():
            raise
    finally:
        try:
            rclpy.try_shutdown()
        except Exception:
            # The signal came while the node was half made: it cannot be taken apart in order.
            if not interrupted():
                raise
        # Where a signal had shut ROS down already, rclpy leaves the log's last lines to the end of Python.
        context._logging_fini()
    return 0


def _without_log_file() -> list[str]:
    """ROS arguments for no log file, where its folder cannot be written to: rclpy would end with a traceback."""
    folder, _ = written_to(os.environ)[0]
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return []
    print(f"m2a_node: {folder} cannot be written to: no log file (set ROS_LOG_DIR)", file=sys.stderr)
    return ["--ros-args", "--disable-external-lib-logs"]


def _spin() -> int:
    node = M2aNode()
    try:
        executor = SurvivingExecutor(lambda entity, error: _warn(node, error))
        executor.add_node(node)
        raise_if_interrupted()
        node.start()
        raise_if_interrupted()
        while rclpy.ok():
            try:
                executor.spin()
            except MemoryError as error:
                _warn(node, error)
    except (ExternalShutdownException, RuntimeError):
        if node.exit_code == 0:
            raise
    finally:
        node.destroy_node()
    return node.exit_code


def _warn(node: M2aNode, error: Exception) -> None:
    with suppress(MemoryError):
        node.get_logger().error(f"a request or a timer was left out ({type(error).__name__}: {error})")
    time.sleep(_PAUSE_S)
