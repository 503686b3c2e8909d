"""The options that say what works on several bags at a time."""

from __future__ import annotations

import argparse

from m2a_core.deprecation import add_old_option

EXECUTORS = ("local", "ray")


def add_executor_options(parser: argparse.ArgumentParser, when: str = "") -> None:
    """Declare ``--executor`` and ``--workers``.

    Args:
        parser: the command's.
        when: where they hold, in front of their help, such as ``offline: ``.
    """
    executor = parser.add_argument(
        "--executor",
        choices=EXECUTORS,
        default=EXECUTORS[0],
        help=f"{when}what evaluates several bags: processes of this machine, or a Ray cluster (default: %(default)s)",
    )
    add_old_option(parser, "--engine", executor)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"{when}bags at a time (default: 1, in this process; with Ray the cluster's CPUs)",
    )
