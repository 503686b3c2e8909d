"""Actions of a command, ``m2a COMMAND ACTION``, each with help of its own."""

from __future__ import annotations

import argparse
from typing import Any


def add_action(actions: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    """Add one action.

    Args:
        actions: what ``parser.add_subparsers`` made.
        name: what the user types.
        summary: one line for the command's overview.
        text: the action's own help, with examples; its lines are kept.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=text, formatter_class=raw)
    return parser
