r"""All that needs a GPU, in one command: the kernel, the plugin and the runtime around it, whole networks, training.

    python -m benchmarks.gpu.run [--out FILE] [--commit HASH] [--rehearse] [--only STEP ...]

From the repository's root, on a machine with PyTorch and nvcc. Without what a step needs besides (compute-sanitizer,
ncu, CMake, TensorRT's headers, cuda-python) it is skipped by name. The record is written after every step, so that
nothing is lost when one breaks. Exit status: 0, or 1 where a step failed, or 2 where nothing could be measured.

--rehearse runs the same code on the CPU with the host build and small sizes: it shows that the script works, and its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks.gpu.kernel_steps import TYPES, check_cases, check_gradients, time_layer
from benchmarks.gpu.lane_steps import run_lanes
from benchmarks.gpu.model_steps import check_model, time_training
from benchmarks.gpu.plugin_steps import enqueue_captured
from benchmarks.gpu.record import Record, Row
from benchmarks.gpu.timing import Device
from benchmarks.gpu.tool_steps import counters, sanitize
from benchmarks.host_kernels import build_host
from m2a_core.ops.compile import build_cuda
from m2a_core.ops.kernel_library import KernelLibrary

LAYERS = {
    "r50 512x1024": (((16, 32), (32, 64), (64, 128)), 8, 32),
    "r50 1024x2048": (((32, 64), (64, 128), (128, 256)), 8, 32),
    "edge 360x480": (((12, 15), (24, 30)), 8, 16),
    "edge 480x640": (((15, 20), (30, 40)), 8, 16),
}
REHEARSED = {"r50 64x128": (((2, 4), (4, 8), (8, 16)), 8, 32)}
STEPS = ("cases", "gradients", "sanitizer", "layers", "counters", "enqueue", "lanes", "models", "training")
NOTHING_MEASURED = 2


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="record (benchmarks/gpu/DATE.json; out/ for a rehearsal)")
    parser.add_argument("--commit", help="what is measured, where there is no git to say it")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, metavar="STEP", help=", ".join(STEPS))
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        print("no GPU that PyTorch sees; --rehearse runs on the CPU", file=sys.stderr)
        return NOTHING_MEASURED
    # The reference's FP32 is the yardstick of parity.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    folder = Path("out") if args.rehearse else Path(__file__).parent
    try:
        record = Record(args.out or folder / f"{time.strftime('%Y-%m-%d')}.json", args.rehearse, args.commit)
    except OSError as error:
        print(f"{args.out or folder}: the record cannot be written ({error})", file=sys.stderr)
        return NOTHING_MEASURED
    with tempfile.TemporaryDirectory() as cache:
        measure(record, Device("cpu" if args.rehearse else "cuda"), Path(cache), set(args.only))
    record.finish()
    print(f"{record.out}: {'failed: ' + ', '.join(record.failed) if record.failed else 'all that ran passed'}")
    return bool(record.failed)


def measure(record: Record, device: Device, cache: Path, wanted: set[str]) -> None:
    """Build the kernel, then every step; without the kernel there is none."""
    built: list[Path] = []

    def build() -> Iterable[Row]:
        start = time.monotonic()
        rehearsal = device.name == "cpu"
        built.append(build_host(cache) if rehearsal else build_cuda(torch.cuda.get_device_capability(), cache))
        yield {"compile_s": time.monotonic() - start}

    if not record.step("build", build):
        return
    library = KernelLibrary(built[0])
    for name, work in steps(library, built[0], device).items():
        if name in wanted:
            record.step(name, work)


def steps(library: KernelLibrary, path: Path, device: Device) -> dict[str, Callable[[], Iterable[Row]]]:
    """What is done, in this order: whether it is right before how fast it is."""
    rehearsal = device.name == "cpu"
    layers = REHEARSED if rehearsal else LAYERS
    size = (64, 128) if rehearsal else (512, 1024)
    names = ["m2a-edge"] if rehearsal else ["m2a-edge", "r50-cityscapes"]
    architecture = None
    if not rehearsal:
        major, minor = torch.cuda.get_device_capability()
        architecture = 10 * major + minor
    training = (("bf16", 2, (64, 96)),) if rehearsal else (("bf16", 4, (256, 384)), ("bf16", 16, (256, 384)))
    return {
        "cases": lambda: check_cases(library, device),
        "gradients": lambda: check_gradients(library, device),
        "sanitizer": lambda: sanitize(path, device),
        "layers": lambda: (
            time_layer(library, device, name, *layers[name], dtype) for name in layers for dtype in TYPES
        ),
        "counters": lambda: counters(path, device),
        "enqueue": lambda: enqueue_captured(device, architecture),
        "lanes": lambda: run_lanes(library, device),
        "models": lambda: (check_model(library, device, name, size) for name in names),
        "training": lambda: (time_training(library, device, *shape) for shape in training),
    }


if __name__ == "__main__":
    sys.exit(main())
