"""Strict reading of plain values (from YAML) into dataclasses."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from m2a_core.errors import ConfigError

T = TypeVar("T")


def require(fits: bool, name: str, expected: str, got: object) -> None:
    """Check a value.

    Raises:
        ConfigError: it does not fit.
    """
    if not fits:
        raise ConfigError(f"{name}: expected {expected}, got {got!r:.200}")


def require_shares(config: object, *names: str) -> None:
    """Check that fields are numbers from 0 to 1; raises `ConfigError`."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value <= 1, name, "a number from 0 to 1", value)


def require_not_negative(config: object, *names: str) -> None:
    """Check that fields are finite and at least 0; raises `ConfigError`."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value < math.inf, name, "a finite number of at least 0", value)


def require_counts(config: object, *names: str) -> None:
    """Check that fields are at least 1; raises `ConfigError`."""
    for name in names:
        value = getattr(config, name)
        require(value >= 1, name, "at least 1", value)


def require_choice(config: object, name: str, choices: tuple[str, ...]) -> None:
    """Check that a field is one of some words; raises `ConfigError`."""
    value = getattr(config, name)
    require(value in choices, name, f"one of {', '.join(choices)}", value)


def require_size(name: str, size: tuple[int, int]) -> None:
    """Check that height and width are positive multiples of 32; raises `ConfigError`."""
    require(all(n > 0 and n % 32 == 0 for n in size), name, "multiples of 32", list(size))


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        kind = next(k for k in args if k is not type(None))
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), value, where)
    if origin is tuple:
        if not isinstance(value, list) or (args[-1] is not ... and len(value) != len(args)):
            raise ConfigError(f"{where}: expected a list of {len(args)} values, got {value!r:.200}")
        kinds = [args[0]] * len(value) if args[-1] is ... else args
        return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a mapping, got {value!r:.200}")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r:.200}")
    return value


def from_dict(cls: type[T], data: Any, where: str = "") -> T:
    """Build a dataclass from plain values, refusing unknown keys, missing keys and wrong types.

    A field whose name would be a word of Python has an underscore behind it, which its key has not.

    Args:
        cls: the dataclass; its own ``__post_init__`` may raise `ConfigError` with messages that begin with the field.
        data: mapping of field names to values.
        where: path of ``data`` in its file, for messages.

    Raises:
        ConfigError: naming the key, what was expected and what came.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where or cls.__name__}: expected a mapping, got {data!r:.200}")
    hints = typing.get_type_hints(cls)
    prefix = f"{where}." if where else ""
    fields = {f.name.removesuffix("_"): f for f in dataclasses.fields(typing.cast(Any, cls))}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ConfigError(f"unknown key '{prefix}{unknown[0]}'; known are {', '.join(sorted(fields))}")
    missing = [n for n, f in fields.items() if n not in data and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"key '{prefix}{missing[0]}' is missing")
    values = {fields[k].name: _convert(hints[fields[k].name], v, prefix + k) for k, v in data.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error
