"""Files: JSON that every reader takes."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.files import json_text, read_json, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(constant: str) -> float:
    raise ValueError(constant)


@given(VALUES)
def test_numbers_that_json_lacks_become_null(value):
    json.loads(json_text(value), parse_constant=refused)


def test_numpy_values_and_tuples_are_written(tmp_path):
    write_json(tmp_path / "a.json", {"a": np.float32(0.5), "b": (np.int64(3), np.nan), "c": np.array([[1.0, np.inf]])})
    assert read_json(tmp_path / "a.json") == {"a": 0.5, "b": [3, None], "c": [[1.0, None]]}
