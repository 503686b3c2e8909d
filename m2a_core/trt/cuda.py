"""The few calls to the CUDA runtime that inference needs, through ``cuda-python``, with every error named."""

from __future__ import annotations

import ctypes
import logging
from typing import Any

import numpy as np

from m2a_core.errors import InferenceError, M2aError, ModelError, NoGpuError, RestartNeededError
from m2a_core.extras import install_command

_LOG = logging.getLogger("m2a.trt")

_STICKY = {
    "cudaErrorAssert",
    "cudaErrorContained",
    "cudaErrorECCUncorrectable",
    "cudaErrorExternalDevice",
    "cudaErrorHardwareStackError",
    "cudaErrorIllegalAddress",
    "cudaErrorIllegalInstruction",
    "cudaErrorInvalidAddressSpace",
    "cudaErrorInvalidPc",
    "cudaErrorLaunchFailure",
    "cudaErrorLaunchTimeout",
    "cudaErrorMisalignedAddress",
    "cudaErrorMpsClientTerminated",
    "cudaErrorNvlinkUncorrectable",
    "cudaErrorTensorMemoryLeak",
}
"""After these, says CUDA's manual, the process is in an inconsistent state: to go on, it must end and start again."""


def load_binding() -> Any:
    """The CUDA runtime's module of ``cuda-python``.

    Raises:
        NoGpuError: it is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError as error:
        raise NoGpuError(f"CUDA through Python is not installed: {install_command('trt')}") from error
    return runtime


def call(function: str, *arguments: Any) -> Any:
    """Call the CUDA runtime.

    Returns:
        What it gives besides its status: nothing, one value or several.

    Raises:
        NoGpuError: no binding.
        ModelError: out of GPU memory.
        RestartNeededError: the process has lost the GPU.
        InferenceError: it failed otherwise.
    """
    runtime = load_binding()
    status, *values = getattr(runtime, function)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        name = status.name
        if name in _STICKY:
            raise RestartNeededError(
                f"{function} failed: {name}; this process has lost the GPU and no later frame can work: restart needed"
            )
        # Else TensorRT, which asks for it, would take it for a failure of its own.
        runtime.cudaGetLastError()
        if name == "cudaErrorMemoryAllocation":
            raise ModelError(f"{function}: out of GPU memory; close what else uses it, or build for smaller batches")
        raise InferenceError(f"{function} failed: {name}; a GPU and a driver that fits the CUDA runtime are needed")
    return values[0] if len(values) == 1 else tuple(values) or None


def require_alive() -> None:
    """Ask for the last error where TensorRT, not the CUDA runtime, was called.

    Raises:
        RestartNeededError: the process has lost the GPU.
    """
    try:
        call("cudaPeekAtLastError")
    except RestartNeededError:
        raise
    except M2aError as error:
        _LOG.debug("%s", error)


def release(function: str, *arguments: Any) -> None:
    """Call the CUDA runtime where something ends: after a failure the rest must be freed all the same."""
    try:
        call(function, *arguments)
    except M2aError as error:
        _LOG.warning("%s", error)


def constant(name: str, enumeration: str | None = None) -> Any:
    """A constant of the CUDA runtime, or a member of one of its enumerations."""
    runtime = load_binding()
    return getattr(getattr(runtime, enumeration) if enumeration else runtime, name)


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
        except (ModelError, InferenceError):
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
            release("cudaFree", device)
        if address:
            release("cudaFreeHost", address)
