"""The help of every command, for the documentation and for the test of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from m2a_core.cli.main import command_parser


def every_parser(commands: Mapping[str, str]) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands and of their actions, one by one.

    Args:
        commands: command -> module.
    """
    waiting = [command_parser(commands)]
    while waiting:
        # argparse has no public way to the parsers of commands.
        waiting_actions = waiting.pop(0)._actions  # noqa: SLF001
        groups = [a for a in waiting_actions if isinstance(a, argparse._SubParsersAction)]  # noqa: SLF001
        children = [child for group in groups for child in group.choices.values()]
        yield from children
        waiting += children
