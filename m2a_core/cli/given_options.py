"""Options that say nothing in the chosen mode of a command: refused rather than ignored."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from m2a_core.errors import ConfigError


def refuse(args: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse options that were given.

    Args:
        args: the parsed arguments; an option that is None, False or empty was not given.
        names: of the options, as attributes of ``args``.
        why: of the message, behind the options.

    Raises:
        ConfigError: one was given.
    """
    values = {name: getattr(args, name) for name in names}
    # Compared one by one: 0.0 is a value, and equal to False.
    given = [name for name, value in values.items() if not (value is None or value is False or value == [])]
    if given:
        raise ConfigError(f"{', '.join('--' + name.replace('_', '-') for name in given)}: {why}")
