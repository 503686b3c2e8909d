"""One batch size of an engine: its execution context and, where it can be captured, its CUDA graph.

Not verified on hardware: no machine with TensorRT and a GPU has run this module yet; see docs/tensorrt.md.
"""

from __future__ import annotations

import logging
from typing import Any

from m2a_core.errors import InferenceError, ModelError, RestartNeededError
from m2a_core.trt.backend import Backend
from m2a_core.trt.cuda import call, constant, release, require_alive

_LOG = logging.getLogger("m2a.trt")


class Lane:
    """A context for images by ``batch``; one thread at a time may use it.

    Attributes:
        batch: images at once.
    """

    def __init__(self, backend: Backend, context: Any, batch: int) -> None:
        """Wrap a context whose memory is lent."""
        self.batch = batch
        self._backend = backend
        self._context = context
        self._graph: Any = None

    def lend(self, address: int, size: int) -> None:
        """Give the context its scratch memory on the GPU, which other lanes use too."""
        if hasattr(self._context, "set_device_memory"):
            self._context.set_device_memory(address, size)
        else:  # the first releases of TensorRT 10
            self._context.device_memory = address

    def prepare(self, stream: Any) -> None:
        """Run once, which compiles what is left to compile, then try to capture.

        Raises:
            InferenceError: the run failed.
        """
        self._enqueue(stream)
        call("cudaStreamSynchronize", stream)
        try:
            self._graph = self._capture(stream)
        except RestartNeededError:
            raise
        except (ModelError, InferenceError) as error:
            _LOG.warning("batch %d runs without a CUDA graph: it cannot be captured (%s)", self.batch, error)

    def run(self, stream: Any) -> None:
        """Start a run, in order with the stream.

        Raises:
            InferenceError: it cannot be started.
        """
        if self._graph is not None:
            call("cudaGraphLaunch", self._graph, stream)
        else:
            self._enqueue(stream)

    def close(self) -> None:
        """Free the graph; harmless when done before."""
        if self._graph is not None:
            release("cudaGraphExecDestroy", self._graph)
        self._graph = self._context = None

    def _capture(self, stream: Any) -> Any:
        """The executable graph of a run."""
        mode = constant("cudaStreamCaptureModeThreadLocal", "cudaStreamCaptureMode")
        call("cudaStreamBeginCapture", stream, mode)
        graph = None
        try:
            try:
                self._enqueue(stream)
            finally:
                # Also after a failure: the stream must leave capture mode.
                graph = call("cudaStreamEndCapture", stream)
            return call("cudaGraphInstantiate", graph, 0)
        finally:
            if graph is not None:
                release("cudaGraphDestroy", graph)

    def _enqueue(self, stream: Any) -> None:
        if not self._context.execute_async_v3(int(stream)):
            reason = self._backend.take_errors()
            require_alive()
            raise InferenceError(f"TensorRT failed on a frame ({reason})")


def first_attribute(owner: Any, *names: str) -> Any:
    """An attribute by the first of its names that this release of TensorRT knows."""
    return next(getattr(owner, name) for name in names if hasattr(owner, name))
