"""YAML from anywhere: plain data only, of a sane size and depth, also with its aliases written out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from m2a_core.files import read_regular

MAX_BYTES = 1 << 22
MAX_DEPTH = 32
_LONGEST_ERROR = 400
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONG_NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F_]{100,}|[0-9_]{100,})")
"""Whole numbers that no float can hold, with some room."""


def read_yaml(path: Path, aliases: bool = False) -> Any:
    """Read a YAML file.

    Args:
        path: a regular file of at most `MAX_BYTES`, UTF-8.
        aliases: take them, as far as the document stays of a sane size with them written out.

    Returns:
        Dictionaries, lists, text, numbers, dates, None.

    Raises:
        OSError: it cannot be read, is too large, or is not a regular file.
        yaml.YAMLError: not YAML of plain data; it has aliases where there must be none, or is nested too deeply.
    """
    return parse_yaml(read_regular(path, MAX_BYTES), aliases)


def parse_yaml(content: bytes, aliases: bool = False) -> Any:
    """Read YAML that is in memory; as ``read_yaml``.

    Args:
        content: UTF-8.
        aliases: see ``read_yaml``.

    Raises:
        yaml.YAMLError: see ``read_yaml``.
    """
    try:
        text = content.decode()
        _check(text, aliases)
        return yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise yaml.YAMLError(_cut(str(error))) from error
    # Numbers of thousands of digits, days that no calendar has, keys that are lists.
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise yaml.YAMLError(_cut(f"{type(error).__name__}: {error}")) from error


def _check(text: str, aliases: bool) -> None:
    """Weigh the document as if its aliases were written out: characters and depth."""
    anchored: dict[str, tuple[int, int]] = {}
    open_ones: list[tuple[str | None, int, int]] = [(None, 0, 0)]
    keys: list[_Keys] = []
    for event in yaml.parse(text, Loader=_LOADER):
        where = f"line {event.start_mark.line + 1}" if event.start_mark else "somewhere"
        if keys:
            keys[-1].next(event, where)
        if isinstance(event, yaml.CollectionStartEvent):
            keys.append(_Keys(isinstance(event, yaml.MappingStartEvent)))
            open_ones.append((event.anchor, 0, 0))
            weight, height = 0, 0
        elif isinstance(event, yaml.AliasEvent):
            if not aliases or event.anchor not in anchored:
                raise yaml.YAMLError(f"{where}: has an alias; write the value out")
            weight, height = anchored[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and _LONG_NUMBER.fullmatch(event.value):
                raise yaml.YAMLError(f"{where}: a number of {len(event.value)} digits, which none can hold")
            weight, height = len(event.value) + 1, 0
            anchored |= {event.anchor: (weight, 0)} if event.anchor else {}
        elif isinstance(event, yaml.CollectionEndEvent):
            keys.pop()
            anchor, weight, height = open_ones.pop()
            weight, height = weight + 1, height + 1
            anchored |= {anchor: (weight, height)} if anchor else {}
        else:
            continue
        anchor, weight_around, height_around = open_ones[-1]
        if len(open_ones) - 1 + height > MAX_DEPTH:
            raise yaml.YAMLError(f"{where}: nested more than {MAX_DEPTH} deep")
        if weight_around + weight > MAX_BYTES:
            raise yaml.YAMLError(f"{where}: its aliases stand for more than {MAX_BYTES} characters")
        open_ones[-1] = (anchor, weight_around + weight, max(height_around, height))


class _Keys:
    """The keys of an open mapping: PyYAML keeps the last of two that are equal and says nothing."""

    def __init__(self, mapping: bool) -> None:
        self.mapping, self.at_key, self.seen = mapping, True, set[str]()

    def next(self, event: yaml.Event, where: str) -> None:
        """Take a node of the collection, or its end."""
        if isinstance(event, yaml.CollectionEndEvent):
            return
        if self.mapping and self.at_key and isinstance(event, yaml.ScalarEvent):
            if event.value in self.seen:
                raise yaml.YAMLError(f"{where}: the key '{event.value}' stands twice; keep one")
            self.seen.add(event.value)
        self.at_key = not self.at_key


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}..."
