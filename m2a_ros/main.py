"""Console script ``m2a``: the core commands and those that speak ROS."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from m2a_core.cli import main as core

COMMANDS = {
    **core.COMMANDS,
    "demo": "m2a_ros.demo.command",
    "replay": "m2a_ros.replay.command",
    "replay compare": "m2a_ros.review.compare_command",
    "harvest": "m2a_ros.harvest.command",
    "harvest serve": "m2a_ros.harvest.serve",
    "harvest export": "m2a_core.cli.harvest_export",
    "bag": "m2a_ros.bag.command",
    "health": "m2a_ros.node.health",
    "doctor": "m2a_ros.node.doctor",
    "view": "m2a_ros.view.command",
    "layout": "m2a_ros.view.layout",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; see ``m2a_core.cli.main.main``."""
    return core.main(argv, COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
