"""Choosing a back end by name; each is imported only when chosen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path
from typing import TypeVar

import numpy as np

from m2a_core.bundle.loading import ModelBundle
from m2a_core.errors import ConfigError, InferenceError, ModelError
from m2a_core.runtime.base import Runtime

BACKENDS = (
    "onnxruntime",
    "onnxruntime_cuda",
    "onnxruntime_tensorrt",
    "onnxruntime_openvino",
    "tensorrt",
    "tensorrt_rtx",
)
CPU_LOAD_S, LOAD_S, FIRST_ANSWER_S = 120.0, 600.0, 120.0
"""What loading may take on a processor, and elsewhere, where an engine is built or compared with its graph; and the
first answer. What takes longer never ends, or is too slow for any camera."""

_Made = TypeVar("_Made")


def ready_s(backend: str) -> float:
    """Seconds after which a network has loaded and answered once, or was refused.

    Args:
        backend: one of ``BACKENDS``, or empty: none is loaded.
    """
    return _load_s(backend) + FIRST_ANSWER_S if backend else 0.0


def create_runtime(
    bundle: ModelBundle,
    backend: str = "onnxruntime",
    threads: int | None = None,
    engine: Path | None = None,
    device: int = 0,
    spin: bool = False,
) -> Runtime:
    """Load a bundle's network.

    Args:
        bundle: a checked bundle.
        backend: one of ``BACKENDS``.
        threads: CPU threads for one inference; None leaves it to the back end (all cores).
        engine: for TensorRT: the engine's file; None: beside the graph.
        device: index of the GPU, where the back end has one.
        spin: for ``onnxruntime``: threads wait for each other busily within a frame. Some 10 % faster where nothing
            else wants the cores, 20 % slower where something does: for batch work, not for a vehicle.

    Raises:
        ConfigError: the back end is unknown or ``threads`` is below 1.
        ModelError: the graph cannot be loaded, or not within ``CPU_LOAD_S`` or ``LOAD_S``, or does not keep the
            contract of ``io_spec``.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: expected at least 1, got {threads}")
    seconds = _load_s(backend)
    return _within(
        seconds,
        lambda: _create(bundle, backend, threads, engine, device, spin),
        f"{bundle.onnx_path}: '{backend}' did not load the graph within {seconds:.0f} s",
    )


def _load_s(backend: str) -> float:
    return CPU_LOAD_S if backend == "onnxruntime" else LOAD_S


def _create(
    bundle: ModelBundle, backend: str, threads: int | None, engine: Path | None, device: int, spin: bool
) -> Runtime:
    if backend == "onnxruntime":
        from m2a_core.runtime.onnx_runtime import OnnxRuntime

        return OnnxRuntime(bundle, threads, spin)
    if backend in ("onnxruntime_cuda", "onnxruntime_tensorrt", "onnxruntime_openvino"):
        from m2a_core.runtime.onnx_provider import OnnxProviderRuntime

        return OnnxProviderRuntime(bundle, backend, threads, device)
    if backend in ("tensorrt", "tensorrt_rtx"):
        from m2a_core.runtime.trt_runtime import TensorRtRuntime

        return TensorRtRuntime(bundle, backend, engine, device)
    raise ConfigError(f"back end '{backend}': expected one of {', '.join(BACKENDS)}")


def _within(seconds: float, work: Callable[[], _Made], complaint: str) -> _Made:
    """Do what may never end in a thread of its own; nothing can stop it, but a process that ends does not wait for it.

    Raises:
        ModelError: it has not ended in time.
    """
    done: Future[_Made] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised by ``result``
            done.set_exception(error)

    threading.Thread(target=run, name="m2a_load", daemon=True).start()
    try:
        return done.result(seconds)
    except NotInTime as error:
        if done.done():
            raise
        raise ModelError(
            f"{complaint}: the graph never ends, the accelerator hangs, or the model is too large for this machine"
        ) from error


def require_answer(runtime: Runtime, what: object, seconds: float = FIRST_ANSWER_S) -> Exception | None:
    """Run the network once, so that a graph that never ends is refused and the first frame does not wait.

    Args:
        runtime: just loaded.
        what: the model, for the message.
        seconds: until it counts as hanging.

    Returns:
        The error, where the answer is one: without another back end, frames that fail are reported as frames.

    Raises:
        ModelError: no answer came.
    """

    def answer() -> Exception | None:
        try:
            runtime.infer(np.zeros((*runtime.input_size, 3), np.uint8))
        except Exception as error:  # noqa: BLE001 - the caller's to judge
            return error
        return None

    return _within(seconds, answer, f"{what}: the network gave no answer within {seconds:.0f} s of loading")


def create_runtime_or_fall_back(
    bundle: ModelBundle,
    backend: str,
    fallback: str,
    warn: Callable[[str], object],
    threads: int | None = None,
    device: int = 0,
) -> tuple[Runtime, str]:
    """Load a bundle's network; where its back end cannot, take another, if one is configured.

    Args:
        bundle: a checked bundle.
        backend: one of ``BACKENDS``.
        fallback: another of them, or empty: the error stands.
        warn: told why, when the other is taken; also where the first does not answer, or with an error.
        threads: see ``create_runtime``.
        device: see ``create_runtime``.

    Returns:
        The runtime and the name of the back end that it is of.

    Raises:
        ConfigError, ModelError, InferenceError: see ``create_runtime``; of the last back end tried.
    """

    def answering(name: str, must_work: bool) -> tuple[Runtime, str]:
        runtime = create_runtime(bundle, name, threads, device=device)
        failure = require_answer(runtime, bundle.onnx_path)
        if failure is not None and must_work:
            runtime.close()
            raise InferenceError(f"{bundle.onnx_path}: the first answer failed: {failure}") from failure
        return runtime, name

    has_other = fallback not in ("", backend)
    try:
        return answering(backend, must_work=has_other)
    except (ModelError, InferenceError) as error:
        if not has_other:
            raise
        warn(f"FALLING BACK from {backend} to {fallback}, which may be many times slower: {error}")
    return answering(fallback, must_work=False)
