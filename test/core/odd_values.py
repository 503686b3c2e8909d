"""Documents in which one value is of another kind than expected: what reads them must say so, whatever it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

from m2a_core.errors import M2aError

ODD: tuple[Any, ...] = (
    None,
    [],
    {},
    [[[]]],
    "abc",
    "x" * 3000,
    "a\0b",
    "../x",
    "\ud800",
    True,
    0,
    -1,
    2**63,
    10**400,
    1e308,
    math.inf,
    math.nan,
)


def odd_documents(document: Any) -> Iterator[Any]:
    """The document with each of its values removed, and replaced by each odd one; of lists the first two entries."""
    for path in _paths(document):
        for value in ODD:
            yield _changed(document, path, value)
        if path:
            changed = copy.deepcopy(document)
            del _at(changed, path[:-1])[path[-1]]
            yield changed


def unnamed(document: Any, write: Callable[[Any], object], read: Callable[[], object]) -> list[str]:
    """What reading the odd documents raised beside m2a's own errors; each kind once."""
    found = {}
    for odd in odd_documents(document):
        write(odd)
        try:
            read()
        except M2aError:
            pass
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            found.setdefault(type(error).__name__, f"{type(error).__name__}: {error}"[:200])
    return list(found.values())


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value[:2] if isinstance(value, list) else [])
    for key, entry in entries:
        yield from _paths(entry, (*path, key))


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    _at(changed, path[:-1])[path[-1]] = value
    return changed
