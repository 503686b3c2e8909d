"""A CUDA runtime for machines without a GPU: memory is the host's, streams run at once, graphs replay what they saw."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from cuda.bindings import runtime as real

ERROR = real.cudaError_t


class FakeCuda:
    """What ``m2a_core.trt.cuda`` calls, with the enumerations of the real binding.

    Attributes:
        memory: live allocations by address.
        graphs: live executable graphs by handle.
        fail: status to give instead of success, by function.
        lost: every call gives this sticky status once it is set.
        gpus: as ``cudaGetDeviceProperties`` tells of them.
        driver: version that the driver is for, 13000 for 13.0.
    """

    cudaError_t = ERROR
    cudaStreamNonBlocking = real.cudaStreamNonBlocking
    cudaStreamCaptureMode = real.cudaStreamCaptureMode
    cudaMemcpyKind = real.cudaMemcpyKind
    cudaDeviceAttr = real.cudaDeviceAttr

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.sizes: dict[int, int] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.captured: list[Callable[[], None]] | None = None
        self.fail: dict[str, Any] = {}
        self.lost: Any = None
        self.gpus = [SimpleNamespace(name=b"RTX 4090", major=8, minor=9, totalGlobalMem=24 * 2**30)]
        self.driver = 13000
        self.runtime = 13040
        self._handles = iter(range(1000, 10**6))

    def _answer(self, function: str, *values: Any) -> tuple[Any, ...]:
        status = self.lost or self.fail.get(function, ERROR.cudaSuccess)
        return (status, *(values if status == ERROR.cudaSuccess else (None,) * len(values)))

    def launch(self, work: Callable[[], None]) -> bool:
        """Do the work, or note it while a graph is captured; False as ``execute_async_v3`` where it fails."""
        if self._answer("launch")[0] != ERROR.cudaSuccess:
            return False
        if self.captured is None:
            work()
        else:
            self.captured.append(work)
        return True

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return ERROR.cudaSuccess, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return ERROR.cudaSuccess, self.runtime

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return self._answer("cudaGetDeviceCount", len(self.gpus))

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        return self._answer("cudaGetDeviceProperties", self.gpus[device])

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return self._answer("cudaGetLastError")

    def cudaPeekAtLastError(self) -> tuple[Any, ...]:
        return self._answer("cudaPeekAtLastError")

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        return self._answer("cudaSetDevice")

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        status, _ = self._answer("cudaMalloc", 0)
        if status != ERROR.cudaSuccess:
            return status, None
        block = ctypes.create_string_buffer(size + 256)
        address = -(-ctypes.addressof(block) // 256) * 256
        self.memory[address], self.sizes[address] = block, size
        return status, address

    cudaMallocHost = cudaMalloc

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.memory[address]
        return self._answer("cudaFree")

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Any, stream: Any) -> tuple[Any, ...]:
        ctypes.memmove(to, source, size)
        return self._answer("cudaMemcpyAsync")

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return self._answer("cudaStreamCreateWithFlags", real.cudaStream_t(0x1000))

    def cudaStreamSynchronize(self, stream: Any) -> tuple[Any, ...]:
        return self._answer("cudaStreamSynchronize")

    def cudaStreamDestroy(self, stream: Any) -> tuple[Any, ...]:
        return self._answer("cudaStreamDestroy")

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[Any, ...]:
        answer = self._answer("cudaStreamBeginCapture")
        self.captured = [] if answer[0] == ERROR.cudaSuccess else None
        return answer

    def cudaStreamEndCapture(self, stream: Any) -> tuple[Any, ...]:
        work, self.captured = self.captured or [], None
        handle = next(self._handles)
        answer = self._answer("cudaStreamEndCapture", handle)
        if answer[0] == ERROR.cudaSuccess:
            self.graphs[handle] = work
        return answer

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        handle = next(self._handles)
        answer = self._answer("cudaGraphInstantiate", handle)
        if answer[0] == ERROR.cudaSuccess:
            self.graphs[handle] = self.graphs[graph]
        return answer

    def cudaGraphLaunch(self, graph: int, stream: Any) -> tuple[Any, ...]:
        for work in self.graphs[graph]:
            work()
        return self._answer("cudaGraphLaunch")

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        del self.graphs[graph]
        return self._answer("cudaGraphDestroy")

    cudaGraphExecDestroy = cudaGraphDestroy


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Put a fake in the binding's place."""
    fake = FakeCuda()
    for module in ("cuda", "gpu"):
        monkeypatch.setattr(f"m2a_core.trt.{module}.load_binding", lambda: fake)
    return fake
