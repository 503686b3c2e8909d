"""Calling the compiled kernels (``csrc/deform_attn_api.h``) on PyTorch's tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import torch

from m2a_core.errors import InferenceError
from m2a_core.ops.native_code import require_own

DTYPES = {torch.float32: 0, torch.float16: 1}
DIMS = (16, 32)
MAX_LEVELS = 4
POINTS = 4
ALIGNMENT = 16


class _Call(ctypes.Structure):
    """``M2aDeformAttn``."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("dtype", "batch", "heads", "dim", "levels", "points")),
        ("shapes", ctypes.c_int32 * (2 * MAX_LEVELS)),
    ]


class KernelLibrary:
    """One compiled object. Tensors are those of `m2a_core.ops.deform_attn.ms_deform_attn`, already checked by it."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises:
            ModelError: others than this user and root can write it.
        """
        self._library = ctypes.CDLL(str(require_own(path)))
        call, pointer = ctypes.POINTER(_Call), ctypes.c_void_p
        self._library.m2a_deform_attn_forward.argtypes = [call, *[pointer] * 4]
        self._library.m2a_deform_attn_backward.argtypes = [call, *[pointer] * 6]
        self._library.m2a_deform_attn_error.argtypes = [ctypes.c_int]
        self._library.m2a_deform_attn_error.restype = ctypes.c_char_p

    def forward(
        self, value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int, stream: int = 0
    ) -> torch.Tensor:
        """Attend.

        Args:
            value: float32 or float16 [B, S, N, D].
            projection: of the same type, [B, S, 3NLP].
            spatial_shapes: height and width of each level in a row.
            points: P.
            stream: handle of the CUDA stream; means nothing on the host.

        Returns:
            [B, S, N * D].

        Raises:
            InferenceError: the kernel does not do this, or CUDA failed.
        """
        value, projection = _laid_out(value), _laid_out(projection)
        out = value.new_empty(value.shape[0], value.shape[1], value.shape[2] * value.shape[3])
        call = _call_of(value, spatial_shapes, points)
        self._check(
            self._library.m2a_deform_attn_forward(
                call, value.data_ptr(), projection.data_ptr(), out.data_ptr(), stream
            ),
            value,
        )
        return out

    def backward(
        self,
        grad: torch.Tensor,
        value: torch.Tensor,
        projection: torch.Tensor,
        spatial_shapes: Sequence[int],
        points: int,
        stream: int = 0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of value and projection, given that of the result; arguments as `forward`."""
        grad, value, projection = (_laid_out(x) for x in (grad, value, projection))
        grad_value = torch.zeros_like(value, dtype=torch.float32)
        grad_projection = torch.empty_like(projection)
        call = _call_of(value, spatial_shapes, points)
        self._check(
            self._library.m2a_deform_attn_backward(
                call,
                *(x.data_ptr() for x in (grad, value, projection, grad_value, grad_projection)),
                stream,
            ),
            value,
        )
        return grad_value.to(value.dtype), grad_projection

    def _check(self, code: int, value: torch.Tensor) -> None:
        if code:
            meaning = self._library.m2a_deform_attn_error(code).decode()
            what = f"deformable attention of {tuple(value.shape)}, {value.dtype}"
            raise InferenceError(f"{what}: {meaning} (code {code})")


def supported(value: torch.Tensor, spatial_shapes: Sequence[int], points: int) -> bool:
    """Whether the kernels are built for these arguments of ``m2a::ms_deform_attn``."""
    fits = value.dtype in DTYPES and value.shape[3] in DIMS and points == POINTS
    return fits and len(spatial_shapes) <= 2 * MAX_LEVELS


def _call_of(value: torch.Tensor, spatial_shapes: Sequence[int], points: int) -> _Call:
    levels = len(spatial_shapes) // 2
    sides = (ctypes.c_int32 * (2 * MAX_LEVELS))(*spatial_shapes[: 2 * MAX_LEVELS])
    dtype = DTYPES.get(value.dtype, -1)
    batch, _, heads, dim = value.shape
    return _Call(dtype, batch, heads, dim, levels, points, sides)


def _laid_out(x: torch.Tensor) -> torch.Tensor:
    """Contiguous and aligned: a view may begin anywhere in its storage."""
    x = x.contiguous()
    return x if x.data_ptr() % ALIGNMENT == 0 else x.clone()
