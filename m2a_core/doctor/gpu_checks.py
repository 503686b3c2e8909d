"""The GPU, its driver, CUDA's binding, TensorRT and the plugin."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import suppress

from m2a_core.doctor.findings import Finding, Level
from m2a_core.errors import M2aError
from m2a_core.ops.compile import find_nvcc

_TENSORRT = ("tensorrt", "tensorrt_rtx")


def check_gpu() -> Iterator[Finding]:
    """A GPU that CUDA can use, or why there is none; without one the rest says nothing."""
    if importlib.util.find_spec("cuda") is None:
        seen = shutil.which("nvidia-smi") is not None
        yield Finding(
            "GPU",
            Level.WARNING if seen else Level.NOTE,
            "there is an NVIDIA driver, but the package cuda-python is missing"
            if seen
            else "not checked: cuda-python is not installed",
            "in the clone: pip install '.[trt]' (CUDA 13) or '.[trt-cuda12]' (CUDA 12, JetPack 6)" if seen else "",
        )
        return
    from m2a_core.trt.gpu import find_gpu

    binding = _binding()
    try:
        gpu = find_gpu(0)
    except M2aError as error:
        yield Finding("GPU", Level.NOTE, f"none usable: {error} ({binding}); m2a runs on the CPU")
        return
    memory = f"{gpu.memory / 2**30:.0f} GiB"
    yield Finding("GPU", Level.OK, f"{gpu.name}, {gpu.architecture}, {memory}; {binding}")
    yield from _tensorrt()


def _binding() -> str:
    """The package that CUDA's binding came with: builds of PyTorch bring a part of cuda-python alone."""
    for package in ("cuda-python", "cuda-bindings"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return f"{package} {importlib.metadata.version(package)}"
    return "no cuda-bindings"


def _tensorrt() -> Iterator[Finding]:
    found = [name for name in _TENSORRT if importlib.util.find_spec(name) is not None]
    if not found:
        yield Finding(
            "TensorRT",
            Level.WARNING,
            "its Python package is missing; engines can neither be built nor run",
            "on x86-64: pip install '.[trt]' in the clone; on a Jetson it comes with JetPack (docs/jetson.md)",
        )
        return
    yield Finding("TensorRT", Level.OK, ", ".join(found))
    tools = {"nvcc": find_nvcc(), "cmake": shutil.which("cmake")}
    missing = [name for name, path in tools.items() if path is None]
    yield Finding(
        "plugin",
        Level.WARNING if missing else Level.OK,
        f"cannot be built: {' and '.join(missing)} missing"
        if missing
        else "can be built: nvcc and cmake are installed",
        "install CUDA's compiler and CMake (docs/tensorrt.md)" if missing else "",
    )


def check_onnx_runtime() -> Iterator[Finding]:
    """Which back ends of ONNX Runtime are here."""
    import onnxruntime

    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    yield Finding("ONNX Runtime", Level.OK, f"{onnxruntime.__version__} with {', '.join(providers)}")
