"""Builds of deform_attn.cu and what calls it for a machine without a GPU."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from m2a_core.ops.compile import CSRC, find_nvcc
from m2a_core.trt.plugin_build import SOURCE

HERE = Path(__file__).parent
# Fibers jump between stacks, which the fortified longjmp of some distributions takes for an attack.
EMULATED = ("-Wall", "-Werror", "-U_FORTIFY_SOURCE", "-x", "c++", "-include", HERE / "cuda.h")


def compiled(source: Path, out: Path, *flags: object) -> Path:
    """A shared object, by g++."""
    return _run(["g++", "-std=c++17", "-O1", "-shared", "-fPIC", *flags, source, "-o", out], out)


def emulated_kernel(out: Path, sources: Path = CSRC) -> Path:
    """The kernels behind their C interface, under their own launch grid."""
    return compiled(sources / "deform_attn.cu", out, *EMULATED)


def emulated_harness(harness: Path, headers: Path, folder: Path) -> tuple[Path, Path]:
    """The plugin and a program that calls it, both on an emulated CUDA.

    Args:
        harness: the program's source.
        headers: of TensorRT.
        folder: where the results go.

    Returns:
        The plugin library and the program.
    """
    nvcc = [find_nvcc(), "-std=c++17", "-O0", "-cudart", "none", "-isystem", headers]
    shared = [*nvcc, "-shared", "-Xcompiler", "-fPIC"]
    _run([*shared, HERE / "runtime.cpp", "-o", folder / "libemulated.so"], folder / "libemulated.so")
    kernel = compiled(CSRC / "deform_attn.cu", folder / "kernel.o", *EMULATED, "-c", "-DM2A_FORWARD_ONLY")
    includes = ["-I", SOURCE, "-I", CSRC]
    identity = f'-DM2A_PLUGIN_IDENTITY="{64 * "0"}"'
    plugin = folder / "libemulated_plugin.so"
    _run([*shared, *includes, identity, *SOURCE.glob("*.cpp"), kernel, "-o", plugin], plugin)
    program = folder / "enqueue"
    linked = ["-L", folder, "-lemulated", "-ldl", f"-Xlinker=-rpath={folder}"]
    return plugin, _run([*nvcc, "-DREPLAYS=1", harness, *linked, "-o", program], program)


def _run(command: Sequence[object], out: Path) -> Path:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out
