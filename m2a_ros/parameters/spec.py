"""What one parameter of the node is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TRANSPORTS = ("auto", "raw", "compressed")

_KINDS = {bool: "true or false", int: "a whole number", float: "a number with a decimal point", str: "a string"}


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        name: full name.
        default: default value; its type is the parameter's.
        description: what it means, with its unit.
        limits: smallest and largest value, for numbers.
        choices: allowed values, for strings.
        live: may change while the node is configured; all others need the node unconfigured.
        required: must not be empty, for strings.
    """

    name: str
    default: Any
    description: str
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    required: bool = False

    @property
    def expected(self) -> str:
        """Type and range in words, for messages."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a list of strings" if isinstance(self.default, list) else _KINDS[type(self.default)]
        return kind + (f" from {self.limits[0]} to {self.limits[1]}" if self.limits else "")
