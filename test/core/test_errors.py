"""Values from outside are shown cut, however long or deep they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.errors import shown


def nested_aliases() -> list[object]:
    """What YAML's aliases make: 9 ** 40 entries when spelt out."""
    value: list[object] = ["x"]
    for _ in range(40):
        value = [value] * 9
    return value


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, nested_aliases(), {"a": "b" * 10**6}, KeyError("c" * 10**6), [0] * 10**6],
    ids=["text", "aliases", "mapping", "error", "list"],
)
def test_what_is_long_or_deep_is_cut(value: object) -> None:
    assert len(shown(value)) <= 83


@given(st.one_of(st.integers(-(2**60), 2**60), st.text("abc' é", max_size=20), st.lists(st.booleans(), max_size=5)))
def test_what_is_short_is_shown_as_repr_does(value: object) -> None:
    assert shown(value) == repr(value)


def test_control_characters_are_escaped() -> None:
    assert shown("a\nb\x1b") == r"'a\nb\x1b'"
