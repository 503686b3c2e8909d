"""YAML that would fill memory or stack is refused, wherever m2a reads YAML."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.compose.clip import load_clip
from m2a_core.errors import M2aError
from m2a_core.geometry.calibration_file import read_calibration
from m2a_core.training.config import load_config
from m2a_core.yaml_file import MAX_BYTES, read_yaml
from m2a_ros.parameters.file import read_parameters
from m2a_ros.parameters.launch_support import cameras_from_file

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
DEEP = "[" * 100_000
HOSTILE = {
    "aliases": BOMB,
    "itself": "&a [*a]",
    "deep": DEEP,
    "deep mapping": "".join(" " * i + "a:\n" for i in range(60)),
    "digits": "a: " + "9" * 5000,
    "date": "a: 2026-02-31",
    "object": "!!python/object/apply:os.system [ls]",
    "long": '"' + "x" * 100_000,
    "key": "? [a, b]\n: c\n? {a: b}\n: c",
    "tab": "a:\n\t- b",
    "a key twice": "a: {b: [1], c: {d: 2}, b: 3}",
}
READERS = {
    "training": load_config,
    "parameters": lambda path: read_parameters(path, "/node"),
    "cameras": cameras_from_file,
    "calibration": read_calibration,
    "clip": lambda path: load_clip(path.parent),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("aliases", [False, True])
def test_hostile_yaml_is_refused_in_few_words(tmp_path, text, aliases):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(yaml.YAMLError) as refused:
        read_yaml(tmp_path / "a.yaml", aliases)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("text", [BOMB, DEEP, "x" * 100_000], ids=["aliases", "deep", "long"])
def test_every_reader_names_the_file_and_cuts_what_it_shows(tmp_path, read, text):
    path = tmp_path / "clip.yaml"
    path.write_text(text)
    with pytest.raises(M2aError, match=r"clip\.yaml") as refused:
        read(path)
    assert len(str(refused.value)) < 1500


def test_aliases_are_taken_where_they_are_asked_for(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\n")
    assert read_yaml(tmp_path / "a.yaml", aliases=True) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    with pytest.raises(yaml.YAMLError, match="line 2: has an alias"):
        read_yaml(tmp_path / "a.yaml")


def test_what_is_no_file_of_a_sane_size_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"#" * (MAX_BYTES + 1))
    for path in (tmp_path / "pipe", tmp_path / "big", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file|larger than"):
            read_yaml(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(codec="ascii")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_plain_data_come_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "plain.yaml"
    path.write_text(yaml.dump(value, Dumper=NoAliases))
    assert read_yaml(path) == value


class NoAliases(yaml.SafeDumper):
    """Writes equal values out."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def test_keys_are_told_apart_from_values_and_from_those_of_other_mappings(tmp_path):
    (tmp_path / "a.yaml").write_text("a: b\nb: a\nc: {a: [a, a, {a: a}, {a: a}], b: c}\n? d\n: d\n")
    inner = {"a": ["a", "a", {"a": "a"}, {"a": "a"}], "b": "c"}
    assert read_yaml(tmp_path / "a.yaml") == {"a": "b", "b": "a", "c": inner, "d": "d"}
