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
        special: a number outside the limits that has a meaning of its own, or None.
        choices: allowed values, for strings.
        live: may change while the node is configured; all others need the node unconfigured.
        required: must not be empty, for strings.
        old_name: full name that it had before, which still works; empty for none.
    """

    name: str
    default: Any
    description: str
    limits: tuple[float, float] | None = None
    special: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    required: bool = False
    old_name: str = ""

    @property
    def expected(self) -> str:
        """Type and range in words, for messages."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a list of strings" if isinstance(self.default, list) else _KINDS[type(self.default)]
        limits = f" from {self.limits[0]} to {self.limits[1]}" if self.limits else ""
        return kind + limits + ("" if self.special is None else f", or {self.special}")

    def allows(self, value: Any) -> bool:
        """Whether a value of the right type is one of the choices, or a number within the limits."""
        if self.choices:
            return value in self.choices
        if self.limits is None or value == self.special:
            return True
        return bool(self.limits[0] <= value <= self.limits[1])
