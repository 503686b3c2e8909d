"""Files: JSON that every reader takes."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core import files
from m2a_core.data.coco import read_annotations
from m2a_core.errors import DataError
from m2a_core.files import json_text, plain_name, read_array, read_json, relative_path, replaced, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(constant: str) -> float:
    raise ValueError(constant)


@pytest.mark.slow
@given(VALUES)
@settings(max_examples=40)
def test_numbers_that_json_lacks_become_null(value):
    json.loads(json_text(value), parse_constant=refused)


def test_numpy_values_and_tuples_are_written(tmp_path):
    write_json(tmp_path / "a.json", {"a": np.float32(0.5), "b": (np.int64(3), np.nan), "c": np.array([[1.0, np.inf]])})
    assert read_json(tmp_path / "a.json") == {"a": 0.5, "b": [3, None], "c": [[1.0, None]]}


@pytest.mark.parametrize("read", [read_json, read_annotations], ids=lambda read: read.__name__)
def test_a_pipe_in_place_of_a_document_is_refused(read, tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(DataError, match="not a regular file"):
        read(tmp_path / "a.json")


PARTS = st.sampled_from(["a", "..", ".", "", "/", "\\", "\0", "b.png", "~", "..."])


@given(st.lists(PARTS, max_size=6).map("/".join))
def test_a_path_out_of_a_document_stays_below_its_folder(name):
    try:
        found = relative_path(name, "a.json")
    except DataError:
        return
    folder = "/data/set"
    assert os.path.normpath(f"{folder}/{found}").startswith(f"{folder}/") or set(found) <= {".", "/"}
    assert not os.path.isabs(found)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "a\0b", "a\\b", None, 3, ["a"]])
@pytest.mark.parametrize("check", [relative_path, plain_name])
def test_names_that_lead_elsewhere_are_shown_with_their_document(name, check):
    with pytest.raises(DataError, match=r"^a\.json: .* is no path below its folder"):
        check(name, "a.json")


def test_a_plain_name_is_one_part_of_a_path():
    assert relative_path("a/b.png", "a.json") == "a/b.png"
    assert plain_name("b.png", "a.json") == "b.png"
    with pytest.raises(DataError, match="no name of one file or folder"):
        plain_name("a/b.png", "a.json")


def test_writers_of_one_file_in_containers_that_share_a_volume_do_not_meet(tmp_path):
    """Each container numbers its processes from one: here both writers have the same number."""
    path = tmp_path / "a.json"
    with replaced(path, alone=False) as first:
        first.write_text("first")
        with replaced(path, alone=False) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_goes_into_no_file_that_a_link_points_to(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for name in ("a.json", ".a.partial.json"):
        (tmp_path / name).symlink_to(precious)
    write_json(tmp_path / "a.json", 1)
    assert precious.read_text() == "kept"
    assert read_json(tmp_path / "a.json") == 1


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(bytes(1 << 21))


def encrypted(path):
    np.savez(path, a=np.zeros(3))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def huge_header(path):
    np.save(path.with_suffix(".npy"), np.zeros(3))
    data = path.with_suffix(".npy").read_bytes().replace(b"(3,), }" + b" " * 12, b"(999999999999,), }  ")
    path.write_bytes(data)


@pytest.mark.parametrize("put", [bomb, encrypted, huge_header, os.mkfifo])
def test_arrays_that_cannot_be_are_refused(tmp_path, put, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 1 << 20)
    put(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as a NumPy file"):
        read_array(tmp_path / "a.npz")
