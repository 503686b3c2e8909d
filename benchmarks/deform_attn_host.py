"""Whether the kernel's host build would serve the CPU runtime better than GridSample does, side by side in one process.

python -m benchmarks.deform_attn_host [--threads N] [--repeats N]

Both compute one encoder layer's attention of m2a-edge at 480x640: the host build with whole heads a thread, vectorised
for this CPU, and the exported graph's portable body (GridSample and the arithmetic around it) in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.host_kernels import build_host
from m2a_core.ops.deform_attn import ms_deform_attn_grid_sample
from m2a_core.ops.kernel_library import KernelLibrary

SHAPES = ((15, 20), (30, 40))
HEADS, DIM, POINTS = 8, 16, 4


class PortableBody(torch.nn.Module):
    """What a runtime without the operator computes."""

    def forward(self, value: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
        """As `ms_deform_attn_grid_sample`."""
        return ms_deform_attn_grid_sample(value, projection, SHAPES, POINTS)


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    keys = sum(h * w for h, w in SHAPES)
    value = torch.randn(1, keys, HEADS, DIM)
    projection = 2 * torch.randn(1, keys, 3 * HEADS * len(SHAPES) * POINTS)
    # OpenMP reads its thread count when the first library that uses it starts; this one is not running yet.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    with tempfile.TemporaryDirectory() as cache:
        flags = ("-march=native", "-fopenmp", "-DM2A_WHOLE_HEADS", "-fno-math-errno", "-fno-trapping-math", "-DNDEBUG")
        library = KernelLibrary(build_host(Path(cache), flags))
    flat = [side for shape in SHAPES for side in shape]
    session = portable_session(value, projection, args.threads)
    feeds = {"value": value.numpy(), "projection": projection.numpy()}
    runs: dict[str, Callable[[], np.ndarray]] = {
        "host build": lambda: library.forward(value, projection, flat, POINTS).numpy(),
        "GridSample": lambda: session.run(None, feeds)[0],
    }
    error = np.abs(runs["host build"]() - runs["GridSample"]()).max()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    print(
        f"{args.threads} threads, ONNX Runtime {onnxruntime.__version__}, load average {os.getloadavg()[0]:.1f}, "
        f"largest difference {error:.1e}"
    )
    for name, taken in times.items():
        print(f"{name:12s} min {min(taken):7.2f} median {statistics.median(taken):7.2f} ms")
    print(f"GridSample / host build: {min(times['GridSample']) / min(times['host build']):.2f} of the minima")


def portable_session(value: torch.Tensor, projection: torch.Tensor, threads: int) -> onnxruntime.InferenceSession:
    """The portable body, exported for these inputs."""
    exported = io.BytesIO()
    program = torch.onnx.export(
        PortableBody().eval(),
        (value, projection),
        dynamo=True,
        opset_version=18,
        input_names=["value", "projection"],
        verbose=False,
    )
    assert program is not None
    program.save(exported)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
