"""The kernels as CUDA implementation of ``m2a::ms_deform_attn``, compiled for the GPU at hand when first needed.

What the kernels are not built for (float64, head widths, points) the reference implementation serves; machines without
a CUDA compiler, too, which is said in a warning. bfloat16, of training, goes through float32.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence

import torch

from m2a_core.errors import ModelError
from m2a_core.ops.arguments import checked_shapes
from m2a_core.ops.compile import build_cuda
from m2a_core.ops.kernel_library import KernelLibrary, supported

Forward = Callable[[torch.Tensor, torch.Tensor, Sequence[int], int], torch.Tensor]
Backward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Sequence[int], int], tuple[torch.Tensor, torch.Tensor]]


def cuda_forward(reference: Forward) -> Forward:
    """Implementation for CUDA tensors.

    Args:
        reference: serves what the kernels cannot.

    Returns:
        A function of the operator's arguments.
    """

    def forward(
        value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
    ) -> torch.Tensor:
        # The kernel trusts what it is told: sizes that do not fit would be read beyond the tensors' ends.
        checked_shapes(value, projection, spatial_shapes, points)
        if value.dtype == torch.bfloat16:
            return forward(value.float(), projection.float(), spatial_shapes, points).to(value.dtype)
        library = library_for(value, spatial_shapes, points)
        if library is None:
            return reference(value, projection, spatial_shapes, points)
        with torch.cuda.device(value.device):
            return library.forward(value, projection, spatial_shapes, points, _stream(value))

    return forward


def cuda_backward(reference: Backward) -> Backward:
    """The same for ``m2a::ms_deform_attn_backward``."""

    def backward(
        grad: torch.Tensor, value: torch.Tensor, projection: torch.Tensor, spatial_shapes: Sequence[int], points: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # The kernel trusts what it is told: sizes that do not fit would be read beyond the tensors' ends.
        checked_shapes(value, projection, spatial_shapes, points)
        expected = (*value.shape[:2], value.shape[2] * value.shape[3])
        if (grad.shape, grad.dtype, grad.device) != (expected, value.dtype, value.device):
            raise ValueError(
                f"ms_deform_attn_backward: value is {tuple(value.shape)}, {value.dtype} on {value.device}, so the "
                f"gradient cannot be {tuple(grad.shape)}, {grad.dtype} on {grad.device}"
            )
        if value.dtype == torch.bfloat16:
            of_value, of_projection = backward(grad.float(), value.float(), projection.float(), spatial_shapes, points)
            return of_value.to(value.dtype), of_projection.to(value.dtype)
        library = library_for(value, spatial_shapes, points)
        if library is None:
            return reference(grad, value, projection, spatial_shapes, points)
        with torch.cuda.device(value.device):
            return library.backward(grad, value, projection, spatial_shapes, points, _stream(value))

    return backward


def _stream(value: torch.Tensor) -> int:
    return torch.cuda.current_stream(value.device).cuda_stream


def library_for(value: torch.Tensor, spatial_shapes: Sequence[int], points: int) -> KernelLibrary | None:
    """The kernels for a tensor's GPU; None where they do not support its sizes or cannot be built."""
    if not supported(value, spatial_shapes, points):
        return None
    return compiled_library(torch.cuda.get_device_capability(value.device))


@functools.cache
def compiled_library(capability: tuple[int, int]) -> KernelLibrary | None:
    """The kernels built for a compute capability, once a process; None, with a warning, where that fails."""
    try:
        return KernelLibrary(build_cuda(capability))
    except ModelError as error:
        warnings.warn(f"{error}; PyTorch's own operators serve instead, which is slower", stacklevel=2)
        return None
