"""The few calls to the CUDA runtime that inference needs, through ``cuda-python``, with every error named."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from m2a_core.errors import EngineError, InferenceError


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError as error:
        raise EngineError("CUDA through Python is not installed: pip install 'm2a_ros[trt]'") from error
    return runtime


def call(function: str, *arguments: Any) -> Any:
    """Call the CUDA runtime.

    Returns:
        What it gives besides its status: nothing, one value or several.

    Raises:
        EngineError: no binding, or out of GPU memory.
        InferenceError: it failed otherwise.
    """
    runtime = _runtime()
    status, *values = getattr(runtime, function)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        name = status.name
        if name == "cudaErrorMemoryAllocation":
            raise EngineError(f"{function}: out of GPU memory; close what else uses it, or build for smaller batches")
        raise InferenceError(f"{function} failed: {name}; a GPU and a driver that fits the CUDA runtime are needed")
    return values[0] if len(values) == 1 else tuple(values) or None


def constant(name: str, enumeration: str | None = None) -> Any:
    """A constant of the CUDA runtime, or a member of one of its enumerations."""
    runtime = _runtime()
    return getattr(getattr(runtime, enumeration) if enumeration else runtime, name)


def gpu_architecture(device: int) -> str | None:
    """Architecture of a GPU such as ``sm87``, or None where there is no such GPU, no driver or no binding."""
    try:
        major, minor = (
            call("cudaDeviceGetAttribute", constant(f"cudaDevAttrComputeCapability{part}", "cudaDeviceAttr"), device)
            for part in ("Major", "Minor")
        )
    except (EngineError, InferenceError):
        return None
    return f"sm{major}{minor}"


class Buffer:
    """Memory of a fixed size on the GPU, and page-locked memory of the host that copies to or from it.

    Attributes:
        host: the host's memory as an array; valid until ``close``.
        device: address on the GPU.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Allocate both; the current device is used."""
        self.bytes = int(np.prod(shape)) * dtype.itemsize
        self.device = int(call("cudaMalloc", self.bytes))
        self._address = 0
        try:
            self._address = int(call("cudaMallocHost", self.bytes))
        except (EngineError, InferenceError):
            self.close()
            raise
        memory = (ctypes.c_char * self.bytes).from_address(self._address)
        self.host: np.ndarray = np.frombuffer(memory, dtype=dtype).reshape(shape)

    def upload(self, stream: Any, count: int) -> None:
        """Copy the first ``count`` bytes to the GPU, in order with the stream."""
        kind = constant("cudaMemcpyHostToDevice", "cudaMemcpyKind")
        call("cudaMemcpyAsync", self.device, self._address, count, kind, stream)

    def download(self, stream: Any, count: int) -> None:
        """Copy the first ``count`` bytes to the host, in order with the stream."""
        kind = constant("cudaMemcpyDeviceToHost", "cudaMemcpyKind")
        call("cudaMemcpyAsync", self._address, self.device, count, kind, stream)

    def bytes_of(self, count: int) -> int:
        """Bytes of the first ``count`` entries of the first axis."""
        return self.bytes // len(self.host) * count

    def close(self) -> None:
        """Free both; harmless when done before."""
        device, self.device = self.device, 0
        address, self._address = self._address, 0
        if device:
            call("cudaFree", device)
        if address:
            call("cudaFreeHost", address)
