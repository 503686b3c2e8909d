"""Runs an emulated build of the kernels on tensors that end where readable memory ends.

    python -m test.ops.emulation.check EMULATED HOST_BUILD

A process of its own, since what it looks for ends one: a read past a tensor's end, an address that is not aligned, a
shuffle that not all threads take part in. Prints the first problem that comes out wrong and returns 1. The oracle is
the host build, which has neither grid nor shuffles and is itself compared with the definition (test_kernel_host.py).
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys

import numpy as np

from test.ops.cases import CASES, POINTS

PAGE = mmap.PAGESIZE
SHAPES = (((3, 5), (1, 7)), ((9, 3), (4, 4), (2, 2), (1, 1)), ((5, 17), (3, 9), (2, 5)))
HEADS = (1, 5, 9)
NOT_WRITTEN = 0xFF


class Call(ctypes.Structure):
    """``M2aDeformAttn``."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("dtype", "batch", "heads", "dim", "levels", "points")),
        ("shapes", ctypes.c_int32 * 8),
    ]


class Guarded:
    """Memory of an array's size between two pages that nobody may touch."""

    def __init__(self, array: np.ndarray) -> None:
        # The kernel's tensors are aligned to 16 bytes, so up to 12 bytes may lie between the end and the page.
        size = max(-(-array.nbytes // 16) * 16, 16)
        inside = -(-size // PAGE) * PAGE
        self._pages = mmap.mmap(-1, inside + 2 * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        for page in (base, base + PAGE + inside):
            if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(page), PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.address = base + PAGE + inside - size
        memory = (ctypes.c_char * max(array.nbytes, 1)).from_address(self.address)
        self.array = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
        self.array[...] = array


class Library:
    """A build of the kernels, its tensors guarded."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def forward(self, value, projection, shapes):
        """As ``m2a_deform_attn_forward``."""
        out = np.empty((*value.shape[:2], value.shape[2] * value.shape[3]), value.dtype)
        out.view(np.uint8)[...] = NOT_WRITTEN
        return self._call("m2a_deform_attn_forward", value, shapes, (value, projection, out))[-1]

    def backward(self, grad, value, projection, shapes):
        """As ``m2a_deform_attn_backward``."""
        grad_projection = np.empty_like(projection)
        grad_projection.view(np.uint8)[...] = NOT_WRITTEN
        tensors = (grad, value, projection, np.zeros(value.shape, np.float32), grad_projection)
        return self._call("m2a_deform_attn_backward", value, shapes, tensors)[-2:]

    def _call(self, name, value, shapes, tensors):
        batch, _, heads, dim = value.shape
        sides = (ctypes.c_int32 * 8)(*itertools.chain(*shapes))
        call = Call(int(value.dtype == np.float16), batch, heads, dim, len(shapes), POINTS, sides)
        guarded = [Guarded(tensor) for tensor in tensors]
        pointers = [ctypes.c_void_p(tensor.address) for tensor in guarded]
        code = getattr(self._library, name)(ctypes.byref(call), *pointers, None)
        assert code == 0, (name, code)
        return [tensor.array.copy() for tensor in guarded]


def problems():
    """(name, value, projection, shapes): the case table, and shapes and heads that fill neither tiles nor warps."""
    for dtype in (np.float32, np.float16):
        for case in CASES:
            yield f"{case.name}, {np.dtype(dtype)}", *case.inputs(dtype), case.shapes
    rng = np.random.default_rng(1)
    for heads, dim, kind, levels in itertools.product(HEADS, (16, 32), ("float32", "float16"), SHAPES):
        batch, keys = int(rng.integers(1, 3)), sum(h * w for h, w in levels)
        value = rng.standard_normal((batch, keys, heads, dim)).astype(kind)
        projection = (3 * rng.standard_normal((batch, keys, 3 * heads * len(levels) * POINTS))).astype(kind)
        yield f"{heads} heads of {dim}, {kind}, {levels}", value, projection, levels


def same(emulated: Library, host: Library, value, projection, shapes) -> bool:
    """Whether both builds agree, forward and backward, on every number and on what is not one."""
    grad = np.ones((*value.shape[:2], value.shape[2] * value.shape[3]), value.dtype)
    results = [
        [library.forward(value, projection, shapes), *library.backward(grad, value, projection, shapes)]
        for library in (emulated, host)
    ]
    for mine, theirs in zip(*results, strict=True):
        finite = np.isfinite(theirs)
        scale = np.abs(theirs[finite].astype(np.float64)).max(initial=0)
        rounding = 2e-3 if mine.dtype == np.float16 else 2e-5
        close = np.allclose(mine[finite], theirs[finite], rtol=rounding, atol=rounding * scale)
        if not close or not np.array_equal(np.isfinite(mine), finite):
            return False
    return True


def main() -> int:
    """Name the first problem that comes out wrong."""
    emulated, host = (Library(path) for path in sys.argv[1:3])
    for name, *problem in problems():
        if not same(emulated, host, *problem):
            print(f"wrong: {name}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
