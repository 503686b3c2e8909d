"""Parameters under the names that they had before: taken as the present ones, with a warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from m2a_core.deprecation import renamed
from m2a_ros.parameters.declarations import NODE_PARAMETERS

_Value = TypeVar("_Value")

OLD_NAMES = {spec.old_name: spec.name for spec in NODE_PARAMETERS if spec.old_name}
"""Old name -> present name."""


def present_names(given: Mapping[str, _Value], warn: Callable[[str], object]) -> dict[str, _Value]:
    """Parameters by their present names.

    Args:
        given: by full name; where a parameter has both names, the present one counts.
        warn: told of every old name.
    """
    for old in given.keys() & OLD_NAMES:
        warn(renamed("parameter", old, OLD_NAMES[old]))
    return {OLD_NAMES.get(name, name): value for name, value in given.items() if OLD_NAMES.get(name) not in given}
