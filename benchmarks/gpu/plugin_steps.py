"""The TensorRT plugin on a GPU without TensorRT's libraries: its enqueue under stream capture."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu.record import Row, Skipped
from benchmarks.gpu.timing import Device
from m2a_core.errors import ModelError
from m2a_core.ops.compile import find_nvcc
from m2a_core.trt.headers import download_headers
from m2a_core.trt.plugin_build import ensure_plugin, find_headers, identity_of
from test.ops.cases import CASES, POINTS, Case, tolerance
from test.ops.emulation.build import emulated_harness
from test.ops.reference import deformable_attention

HARNESS = Path(__file__).with_name("enqueue.cpp")
NO_GPU = 3
LARGE = Case("r50 512x1024", ((16, 32), (32, 64), (64, 128)))
NAMES = ("r50 pyramid", "edge pyramid", "four levels", "odd heads of sixteen")


def headers_or_skip(scratch: Path) -> Path:
    """TensorRT's headers, fetched where the machine has none.

    Raises:
        Skipped: they cannot be had.
    """
    try:
        return find_headers()
    except ModelError:
        try:
            download_headers(scratch)
        except ModelError as error:
            raise Skipped(f"no headers of TensorRT here, and {error}") from error
    return scratch


def build_plugin(scratch: Path, device: Device, architecture: int | None) -> tuple[Path, Path]:
    """The plugin, for this GPU alone, and the harness; on the CPU both on an emulated CUDA.

    Raises:
        Skipped: CMake, nvcc or the headers are missing.
        ModelError: they do not compile.
    """
    headers = headers_or_skip(scratch / "headers")
    nvcc = find_nvcc()
    if device.name == "cpu":
        if nvcc is None:
            raise Skipped("no nvcc: TensorRT's headers need CUDA's")
        return emulated_harness(HARNESS, headers, scratch)
    try:
        plugin = ensure_plugin(scratch, headers, architectures=[architecture] if architecture else [])
    except ModelError as error:
        if "install them" in str(error):
            raise Skipped(str(error)) from error
        raise
    harness = scratch / "enqueue"
    command = [nvcc, "-std=c++17", "-O2", "-isystem", headers, HARNESS, "-ldl", "-o", harness]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(f"{HARNESS.name} does not compile: {done.stderr[-2000:]}")
    return plugin, harness


def enqueue_captured(device: Device, architecture: int | None) -> Iterator[Row]:
    """Cases through the plugin: eager against the definition, captured against eager; time of the R50 layer."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        plugin, harness = build_plugin(scratch, device, architecture)
        yield {"plugin": identity_of(plugin), "built": True}
        cases = [case for case in CASES if case.name in NAMES]
        for case in cases if device.name == "cpu" else (*cases, LARGE):
            for dtype in ("fp32", "fp16"):
                yield _run(harness, plugin, scratch, case, dtype, compare=case is not LARGE)


def _run(harness: Path, plugin: Path, scratch: Path, case: Case, dtype: str, compare: bool) -> Row:
    value, projection = case.inputs(np.float16 if dtype == "fp16" else np.float32)
    value.tofile(scratch / "value.bin")
    projection.tofile(scratch / "projection.bin")
    sizes = [case.batch, case.heads, case.dim, *(side for shape in case.shapes for side in shape)]
    command = [harness, plugin, scratch, dtype, *sizes]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    row: Row = {"name": case.name, "type": dtype, "ok": done.returncode == 0}
    if done.returncode == NO_GPU:
        raise Skipped(done.stderr.strip())
    if done.returncode:
        return row | {"error": done.stderr.strip()[-500:]}
    row |= json.loads(done.stdout)
    if compare:
        got = np.fromfile(scratch / "out.bin", value.dtype).reshape(*value.shape[:2], -1)
        want = deformable_attention(value, projection, case.shapes, POINTS)
        error = np.abs(got.astype(np.float64) - want)
        row |= {"error": float(error.max()), "ok": bool((error <= tolerance(want, value, case.shapes)).all())}
    return row
