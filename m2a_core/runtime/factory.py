"""Choosing a back end by name; each is imported only when chosen."""

from __future__ import annotations

from m2a_core.bundle import ModelBundle
from m2a_core.errors import ConfigError
from m2a_core.runtime.base import Runtime

BACKENDS = ("onnxruntime",)


def create_runtime(bundle: ModelBundle, backend: str = "onnxruntime", threads: int | None = None) -> Runtime:
    """Load a bundle's network.

    Args:
        bundle: a checked bundle.
        backend: one of ``BACKENDS``.
        threads: CPU threads for one inference; None leaves it to the back end (all cores).

    Raises:
        ConfigError: the back end is unknown or ``threads`` is below 1.
        EngineError: the graph cannot be loaded or does not keep the contract of ``io_spec``.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: expected at least 1, got {threads}")
    if backend == "onnxruntime":
        from m2a_core.runtime.onnx_runtime import OnnxRuntime

        return OnnxRuntime(bundle, threads)
    raise ConfigError(f"back end '{backend}': expected one of {', '.join(BACKENDS)}")
