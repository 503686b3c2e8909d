"""Check that a running node works, by its diagnostics. For containers and supervisors.

Exit code 0: the node is active and no camera reports an error. 1: anything else, or no
diagnostics came. With --strict a warning (a silent camera, a calibration that does not fit) also gives 1.

For example:
  m2a health
  m2a health --node /car/m2a --strict
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

HELP = "check that a running node works, by its diagnostics"

UNHEALTHY = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--node", default="m2a", help="the node, with its namespace (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds to wait (default: %(default)s)",
    )
    parser.add_argument("--strict", action="store_true", help="a warning also gives exit code 1")


def run(args: argparse.Namespace) -> int:
    """Wait for diagnostics of the node, print its state and judge it."""
    from m2a_ros.node.diagnostics_reader import next_statuses

    prefix = f"{args.node.strip('/')}: "
    statuses = next_statuses(prefix, args.timeout)
    well, text = judge(prefix, statuses, args.strict)
    print(text)
    return 0 if well else UNHEALTHY


def judge(prefix: str, statuses: Iterable[Any], strict: bool) -> tuple[bool, str]:
    """Judge the node from its ``diagnostic_msgs/DiagnosticStatus``.

    Args:
        prefix: of the node's statuses' names.
        statuses: of one message.
        strict: a warning of a camera is not well.

    Returns:
        Whether it is well, and why in a line for every status.
    """
    ours = [(s.name, int.from_bytes(s.level, "little"), s.message) for s in statuses if s.name.startswith(prefix)]
    if not ours:
        return False, f"no diagnostics of '{prefix.removesuffix(': ')}': it does not run, or is in another ROS domain"
    # The node itself warns while it is not active: nothing is processed then.
    well = all(level <= (0 if strict or name == f"{prefix}node" else 1) for name, level, _ in ours)
    words = ("OK", "WARN", "ERROR", "STALE")
    return well, "\n".join(f"{words[min(level, 3)]} {name}: {message}" for name, level, message in ours)
