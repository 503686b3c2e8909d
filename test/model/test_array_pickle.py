"""Pickles of arrays against NumPy's own reading, and forged ones that NumPy would believe."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from m2a_core.errors import CheckpointError
from m2a_core.model.checkpoints.array_pickle import PickledArray, read_arrays
from m2a_core.model.checkpoints.reading import read_state_dict

NUMBERS = st.sampled_from(["<f4", ">f4", "<f2", ">f8", "<i8", ">i2", "u1", "?"])
SAMPLE = pickle.dumps({"model": OrderedDict(a=np.arange(6.0).reshape(2, 3), lr=np.float64(0.1))}, protocol=2)


class Forged:
    """Pickles as the call of a function with a state."""

    def __init__(self, function, arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


RECONSTRUCT = np.zeros(0).__reduce__()[0]


def array(shape, dtype, raw, fortran=False):
    return Forged(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, shape, dtype, fortran, raw))


@given(arrays.arrays(NUMBERS.map(np.dtype), arrays.array_shapes(min_dims=0, min_side=0)), st.sampled_from([2, 3, 4, 5]))
def test_arrays_are_read_as_numpy_reads_them(value, protocol):
    for array in (value, np.asfortranarray(value)):
        read = read_arrays(pickle.dumps({"a": array}, protocol=protocol))["a"]
        got = read.array if isinstance(read, PickledArray) else read
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


DTYPE = np.dtype("<f4")


@pytest.mark.parametrize(
    "forged",
    [
        Forged(np.dtype, ("f4", False, True), (3, "<", None, None, None, 1 << 40, 8, 0)),
        Forged(np.dtype, ("f4", False, True), (3, "<", None, ("a",), {"a": (DTYPE, -99)}, -1, -1, 0)),
        Forged(np.dtype, ("f4", False, True), (3, "<", None, None, None, -1, -1, 63)),
        Forged(np.dtype, ("O8", False, True)),
        Forged(np.dtype, ("V8", False, True)),
        Forged(np.ndarray, ((1 << 30,), DTYPE)),
        Forged(np.ndarray, ((4,), DTYPE, b"0123456789abcdef", -4096)),
        array((1 << 30,), DTYPE, b"0123"),
        array((-1, -1), DTYPE, b"0123"),
        array((1,), DTYPE, ["object"]),
        np.array([object]),
    ],
)
def test_forged_arrays_are_refused(tmp_path, forged):
    for name, data in (("a.pkl", pickle.dumps({"model": {"a": forged}})), ("a.pth", None)):
        path = tmp_path / name
        path.write_bytes(data) if data else torch.save({"model": {"a": forged}}, path)
        with pytest.raises(CheckpointError, match=name):
            read_state_dict(path)


def nested(depth: int) -> bytes:
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s."


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 33) + b"few.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b"few.",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 33) + b"}.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        nested(200_000),
        b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x02cos\nsystem\n.",
    ],
    ids=["bytes", "bytearray", "frame", "memo", "nested key", "state of a class", "global"],
)
def test_hostile_pickles_end_without_memory_or_stack(tmp_path, data):
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@given(st.lists(st.tuples(st.integers(2, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_change_of_bytes_gives_more_than_the_file_holds(changes):
    data = bytearray(SAMPLE)
    for at, byte in changes:
        data[at] = byte
    try:
        read = read_arrays(bytes(data))
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        AttributeError,
        struct.error,
    ):
        return
    for value in read.values() if isinstance(read, dict) else ():
        if isinstance(value, PickledArray) and value.array is not None:
            assert value.array.nbytes <= len(data)


def test_tensor_that_repeats_one_value_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="'a' is larger than what the file holds for it"):
        read_state_dict(tmp_path / "a.pth")


def test_bytes_used_by_many_arrays_are_refused(tmp_path):
    raw = bytes(4000)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({f"a{i}": array((1000,), DTYPE, raw) for i in range(1000)}))
    with pytest.raises(CheckpointError, match="is larger than what the file holds for it"):
        read_state_dict(tmp_path / "a.pkl")
