"""Pickles of NumPy arrays, read without NumPy's own unpickling.

NumPy believes what a pickle says of a dtype and of an array's memory: a forged one reads and writes out of bounds. Here
stand-ins take the place of NumPy's objects, and arrays are views of bytes that the file holds.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from m2a_core.errors import quoted

_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_LONGEST_SHAPE = 16


class PickledDtype:
    """Stands for `numpy.dtype`: numbers only."""

    def __init__(self, code: str, *_: object) -> None:
        """Take the code of a number, such as f4, and what NumPy says of alignment and copying, which means nothing."""
        if not isinstance(code, str) or code.lstrip("<>|=") not in _CODES:
            raise pickle.UnpicklingError(f"the type {quoted(str(code)[:99])}, which is not numeric")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the order of bytes; a type with fields, a size or flags of its own is none of a number."""
        if not isinstance(state, tuple) or len(state) < 5:
            raise pickle.UnpicklingError("a type with a state that is none of NumPy's")
        order = state[1]
        plain = state[0] in (3, 4) and state[2:] in ((None, None, None, -1, -1, 0), (None, None, None, -1, -1, 0, None))
        if not plain or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a type with fields, sizes or flags of its own")
        self.dtype = self.dtype if order == "|" else self.dtype.newbyteorder(order)


class PickledArray:
    """Stands for `numpy.ndarray`.

    Attributes:
        array: a view of the file's bytes; None until these came.
    """

    array: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take version, shape, type, order and bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array with a state that is none of NumPy's")
        _, shape, dtype, fortran, raw = state
        self.array = _view(raw, dtype, shape, "F" if fortran is True else "C")


def _reconstruct(kind: object, *_: object) -> PickledArray:
    if kind is not PickledArray:
        raise pickle.UnpicklingError("an array of another class than NumPy's")
    return PickledArray()


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> PickledArray:
    made = PickledArray()
    made.array = _view(raw, dtype, shape, "F" if order == "F" else "C")
    return made


def _scalar(dtype: object, raw: object = b"") -> Any:
    return _view(raw, dtype, (1,), "C")[0]


def _view(raw: object, dtype: object, shape: object, order: Any) -> np.ndarray:
    # Python 2 wrote bytes as text.
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(raw, bytes) or not isinstance(dtype, PickledDtype):
        raise pickle.UnpicklingError("an array without bytes or a type of its own")
    if (
        not isinstance(shape, tuple)
        or len(shape) > _LONGEST_SHAPE
        or not all(type(side) is int and side >= 0 for side in shape)
        or math.prod(shape) * dtype.dtype.itemsize != len(raw)
    ):
        raise pickle.UnpicklingError(f"an array whose shape does not fit its {len(raw)} bytes")
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)


def _encode(text: object, encoding: object) -> bytes:
    """Bytes as Python 3 writes them in protocol 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another encoding than latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """As Python 3 writes them in protocol 2."""
    return b""


def _ordered(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs:
        _require_key(key)
        made[key] = value
    return made


def _require_key(key: object) -> None:
    # Hashing tuples within tuples, deep enough, overruns the stack.
    if not isinstance(key, str | int | float | None):
        raise pickle.UnpicklingError(f"a key that is a {type(key).__name__}")


STAND_INS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": PickledDtype,
    "numpy.ndarray": PickledArray,
    **{
        f"{core}.{name}": stand_in
        for core in ("numpy.core", "numpy._core")
        for name, stand_in in (
            ("multiarray._reconstruct", _reconstruct),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _from_buffer),
        )
    },
}
"""By the names of NumPy before and after 2.0."""

_GLOBALS = {**STAND_INS, "collections.OrderedDict": _ordered, "_codecs.encode": _encode, "__builtin__.bytes": _no_bytes}

_OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.BINSTRING, pickle.SHORT_BINSTRING),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
)


# In Python, where no opcode allocates what it only declares; the arrays' bytes are copied in one piece all the same.
class _Arrays(pickle._Unpickler):
    """An unpickler that knows arrays, dictionaries, lists, texts and numbers."""

    # Set by the base class, whose type hints are those of the unpickler in C.
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        """Give a stand-in, or refuse."""
        full = f"{module}.{name}"
        if full not in _GLOBALS:
            raise pickle.UnpicklingError(f"the pickle asks for {quoted(full)[1:-1]}")
        return _GLOBALS[full]

    def load_bytearray8(self) -> None:
        """Take what protocol 5 writes of an array's memory, as bytes."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))

    def load_reduce(self) -> None:
        """Call a stand-in."""
        arguments = self.stack.pop()
        made = self.stack[-1]
        if not isinstance(arguments, tuple) or not any(made is known for known in _GLOBALS.values()):
            raise pickle.UnpicklingError("a call of something that is not a function")
        self.stack[-1] = made(*arguments)

    def load_build(self) -> None:
        """Complete a type or an array."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], PickledDtype | PickledArray):
            raise pickle.UnpicklingError("a state for something that is neither a type nor an array")
        self.stack[-1].__setstate__(state)

    def load_setitem(self) -> None:
        """Add one entry to a dictionary."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        """Add entries to a dictionary."""
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise pickle.UnpicklingError("entries for something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _require_key(key)
            target[key] = value

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _OPCODES},
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def read_arrays(data: bytes) -> Any:
    """Read a pickle; arrays come as `PickledArray`.

    Args:
        data: protocol 2 or later.

    Raises:
        pickle.UnpicklingError: it asks for more than arrays, or its arrays are not of the file's own bytes.
        ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError: it is damaged.
    """
    try:
        return _Arrays(io.BytesIO(data), encoding="latin1").load()
    except (struct.error, OverflowError, AssertionError) as error:
        raise EOFError(f"damaged ({error})") from error
