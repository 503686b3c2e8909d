"""JSON objects of a model's files, taken apart strictly: what does not fit is named by its key."""

from __future__ import annotations

from typing import Any

from m2a_core.errors import ModelError, quoted


class JsonObjects:
    """Checks keys and kinds of values; what is wrong is a ModelError."""

    def __init__(self, source: str) -> None:
        """Take where the objects came from, for messages."""
        self.source = source

    def keys(self, where: str, data: dict[str, Any], expected: set[str]) -> None:
        """Raise ModelError unless an object, named ``where`` in messages, has these keys and no other."""
        missing, unknown = sorted(expected - set(data)), sorted(set(data) - expected)
        if missing or unknown:
            raise ModelError(
                f"{self.source}: keys of '{where or '/'}' do not fit; missing: {missing}, unknown: {unknown}; "
                "export the bundle again with `m2a export`"
            )

    def object(self, data: dict[str, Any], key: str, expected: set[str]) -> dict[str, Any]:
        """An entry that is an object with these keys."""
        value: dict[str, Any] = self.value(data, key, dict)
        self.keys(f"{key}.", value, expected)
        return value

    def value(self, data: dict[str, Any], key: str, kind: type) -> Any:
        """An entry of a kind; whole numbers are floats, too."""
        value = data[key]
        # JSON writes whole floats as integers; True is an int to Python, never a number here.
        fits = type(value) in (int, float) if kind is float else type(value) is kind
        if not fits:
            raise ModelError(f"{self.source}: '{key}' is {_shown(value)}, expected {kind.__name__}")
        if type(value) is int and abs(value) >= 1 << 63:
            raise ModelError(f"{self.source}: '{key}' is a number of {value.bit_length()} bits, expected one of 63")
        return float(value) if kind is float else value

    def numbers(self, data: dict[str, Any], key: str, count: int, kind: type) -> list[Any]:
        """An entry that is a list of so many numbers."""
        values = self.value(data, key, list)
        if len(values) != count:
            raise ModelError(f"{self.source}: '{key}' is {_shown(values)}, expected {count} numbers")
        return [self.value(dict(enumerate(values)), i, kind) for i in range(count)]  # type: ignore[arg-type]


def _shown(value: Any) -> str:
    """A value as a message shows it; what it holds may be nested deeply, or long."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list) and len(value) < 8 and not any(isinstance(entry, list | dict | str) for entry in value):
        return repr(value)
    return f"a {type(value).__name__}" if isinstance(value, list | dict) else repr(value)
