"""Old names of public things: each still works, and says what it is called now.

Python names, options and parameters are renamed with the one helper of theirs; nothing else of m2a knows old names.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(kind: str, old: str, new: str) -> str:
    """What is said of an old name.

    Args:
        kind: what it is the name of, such as ``option``.
        old: the name that was given.
        new: what it is called now.
    """
    return f"{kind} '{old}' is deprecated and will be removed in a later version; use '{new}'"


def old_names(module: Mapping[str, Any], names: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module (PEP 562) whose names have changed.

    Args:
        module: its ``globals()``.
        names: old name -> new name.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module['__name__']!r} has no attribute {name!r}")
        # FutureWarning, not DeprecationWarning: Python does not show the latter to users of a module.
        warnings.warn(renamed("name", f"{module['__name__']}.{name}", names[name]), FutureWarning, stacklevel=2)
        return module[names[name]]

    return get


def add_old_option(parser: argparse.ArgumentParser, old: str, new: argparse.Action) -> None:
    """Take an option under its old name, too; help and completion do not show it.

    Args:
        parser: the command's.
        old: the old name with its dashes.
        new: what ``parser.add_argument`` made of the new one; an option with values.
    """

    class Old(argparse.Action):
        def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
            print(f"m2a: warning: {renamed('option', old, new.option_strings[-1])}", file=sys.stderr)
            new(parser, namespace, values, option)

    parser.add_argument(
        old,
        dest=new.dest,
        action=Old,
        nargs=new.nargs,
        type=new.type or str,
        choices=new.choices,
        metavar=new.metavar,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
