r"""All that needs a GPU, in one command and under ten minutes: the kernel on its case table, its time, whole models.

    python -m benchmarks.gpu.run [--out FILE] [--rehearse]

From the repository's root, on a machine with PyTorch, Triton and nvcc; nothing has to be installed. Writes one JSON
record, dated, with every figure. --rehearse runs the same code on the CPU with the host build and small sizes: it shows
that the script works, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.gpu.timing import Device, floors, seconds
from m2a_core.model.mask2anomaly import build_model
from m2a_core.model.zoo import MODELS
from m2a_core.ops import deform_attn
from m2a_core.ops.compile import build_cuda, build_host, find_nvcc
from m2a_core.ops.kernel_library import KernelLibrary
from test.ops.cases import CASES, POINTS, tolerance
from test.ops.reference import deformable_attention

LAYERS = {
    "r50 512x1024": (((16, 32), (32, 64), (64, 128)), 8, 32),
    "r50 1024x2048": (((32, 64), (64, 128), (128, 256)), 8, 32),
    "edge 480x640": (((15, 20), (30, 40)), 8, 16),
}
REHEARSED = {"r50 64x128": (((2, 4), (4, 8), (8, 16)), 8, 32)}
TYPES = {"fp32": torch.float32, "fp16": torch.float16}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="record (benchmarks/gpu/DATE.json; out/ for a rehearsal)")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU")
    args = parser.parse_args()
    if not args.rehearse and (not torch.cuda.is_available() or find_nvcc() is None):
        parser.error("no GPU that PyTorch sees, or no nvcc; --rehearse runs on the CPU")
    # The reference's FP32 is the yardstick of parity.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = Device("cpu" if args.rehearse else "cuda")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        built = time.monotonic()
        path = build_host(Path(cache)) if args.rehearse else build_cuda(torch.cuda.get_device_capability(), Path(cache))
        record: dict[str, Any] = {"environment": environment(args.rehearse), "compile_s": time.monotonic() - built}
        library = KernelLibrary(path)
    layers = REHEARSED if args.rehearse else LAYERS
    size = (64, 128) if args.rehearse else (512, 1024)
    names = ["m2a-edge"] if args.rehearse else ["m2a-edge", "r50-cityscapes"]
    steps: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "cases": lambda: check_cases(library, device),
        "gradients": lambda: check_gradients(library, device),
        "layers": lambda: [time_layer(library, device, n, *layers[n], dtype) for n in layers for dtype in TYPES],
        "models": lambda: [check_model(library, device, name, size) for name in names],
    }
    default = Path("out") if args.rehearse else Path(__file__).parent
    out = args.out or default / f"{record['environment']['date'][:10]}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, step in steps.items():
        record[name] = step()
        record["total_s"] = time.monotonic() - start
        # A step that fails must not take those before it along.
        out.write_text(json.dumps(record, indent=1) + "\n")
    failed = [case["name"] for case in record["cases"] + record["gradients"] if not case["ok"]]
    print(f"{len(failed)} of {len(record['cases']) + len(record['gradients'])} cases failed {failed}; "
          f"{record['total_s']:.0f} s; written to {out}")  # fmt: skip


def environment(rehearsal: bool) -> dict[str, Any]:
    """What a figure needs beside it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    nvcc = find_nvcc()
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout if nvcc else ""
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "rehearsal": rehearsal,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "nvcc": version.strip().splitlines()[-1] if version else None,
    }
    if not rehearsal:
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "sms": properties.multi_processor_count, "cuda": torch.version.cuda}
    print(found)
    return found


def check_cases(library: KernelLibrary, device: Device) -> list[dict[str, Any]]:
    """Every case in both types against the float64 definition."""
    rows = []
    for case in CASES:
        for name, dtype in (("fp32", np.float32), ("fp16", np.float16)):
            value, projection = case.inputs(dtype)
            with np.errstate(invalid="ignore"):
                want = deformable_attention(value, projection, case.shapes, POINTS)
            flat = [side for shape in case.shapes for side in shape]
            tensors = (torch.from_numpy(x).to(device.name) for x in (value, projection))
            got = library.forward(*tensors, flat, POINTS, device.stream()).cpu().numpy()
            finite = np.isfinite(want)
            error = np.abs(got[finite].astype(np.float64) - want[finite])
            limit = tolerance(want, value, case.shapes)[finite]
            same = bool(np.array_equal(np.isfinite(got), finite))
            worst = float(error.max(initial=0))
            rows.append({"name": case.name, "type": name, "error": worst, "ok": same and bool((error <= limit).all())})
            print(f"{case.name:28s} {name} error {worst:.1e} {'ok' if rows[-1]['ok'] else 'FAILED'}")
    return rows


def check_gradients(library: KernelLibrary, device: Device) -> list[dict[str, Any]]:
    """Backward in FP32 against that of the reference in FP32 on the CPU, which has the same slopes at every kink."""
    rows = []
    for case in (case for case in CASES if case.differentiable and case.batch):
        inputs = [torch.from_numpy(x) for x in case.inputs(np.float32)]
        flat = [side for shape in case.shapes for side in shape]
        grad = torch.randn(*inputs[0].shape[:2], case.heads * case.dim, generator=torch.Generator().manual_seed(0))
        want = deform_attn._backward_reference(grad, *inputs, flat, POINTS)
        tensors = (x.to(device.name) for x in (grad, *inputs))
        got = library.backward(*tensors, flat, POINTS, device.stream())
        errors = [
            float((a.cpu() - b).abs().max() / b.abs().max().clamp(min=1e-6)) if b.numel() else 0.0
            for a, b in zip(got, want, strict=True)
        ]
        # FP32 knows a place in a level of 1000 cells to 1e-4 of a cell.
        limit = 2e-5 + 1e-6 * max(flat)
        rows.append({"name": f"{case.name}, gradients", "error": max(errors), "ok": max(errors) < limit})
        print(f"{rows[-1]['name']:38s} error {max(errors):.1e} {'ok' if rows[-1]['ok'] else 'FAILED'}")
    return rows


def time_layer(
    library: KernelLibrary, device: Device, name: str, shapes: deform_attn.Shapes, heads: int, dim: int, dtype: str
) -> dict[str, Any]:
    """One layer by the kernel, the reference and GridSample; backward by the kernel and the reference."""
    keys, samples = sum(h * w for h, w in shapes), len(shapes) * POINTS
    flat = [side for shape in shapes for side in shape]
    generator = torch.Generator().manual_seed(0)
    sets = []
    # More inputs than the GPU's L2 holds, in turn: repeated runs on one would measure the cache.
    for _ in range(device.input_sets):
        value = torch.randn(1, keys, heads, dim, generator=generator)
        projection = 2 * torch.randn(1, keys, 3 * heads * samples, generator=generator)
        sets.append([x.to(device.name, TYPES[dtype]) for x in (value, projection)])
    grad = torch.randn(1, keys, heads * dim, generator=generator).to(device.name, TYPES[dtype])
    times = {
        "kernel": seconds(device, sets, lambda v, p: library.forward(v, p, flat, POINTS, device.stream()), graph=True),
        "reference": seconds(device, sets, lambda v, p: deform_attn._reference(v, p, flat, POINTS)),
        "grid_sample": seconds(device, sets, lambda v, p: deform_attn.ms_deform_attn_grid_sample(v, p, shapes, POINTS)),
        "backward kernel": seconds(
            device, sets, lambda v, p: library.backward(grad, v, p, flat, POINTS, device.stream()), graph=True
        ),
        "backward reference": seconds(
            device, sets, lambda v, p: deform_attn._backward_reference(grad, v, p, flat, POINTS)
        ),
    }
    row = {
        "name": name,
        "type": dtype,
        "keys": keys,
        "us": {what: 1e6 * taken for what, taken in times.items()},
        "times_faster": {
            "than reference": times["reference"] / times["kernel"],
            "than grid_sample": times["grid_sample"] / times["kernel"],
            "backward than reference": times["backward reference"] / times["backward kernel"],
        },
    }
    if device.name == "cuda":
        bound = floors(device, keys, heads, dim, samples, TYPES[dtype].itemsize)
        row["floor_us"] = {what: 1e6 * least for what, least in bound.items()}
        row["bound_by"] = max(bound, key=lambda what: bound[what])
        row["fraction_of_roofline"] = max(bound.values()) / times["kernel"]
    print(row)
    return row


def check_model(library: KernelLibrary, device: Device, name: str, size: tuple[int, int]) -> dict[str, Any]:
    """A whole network, kernel against reference on the same device: parity of its outputs and time of a frame."""
    torch.manual_seed(0)
    model = build_model(MODELS[name]).eval().to(device.name)
    image = torch.randn(1, 3, *size).to(device.name)

    def kernel(value: torch.Tensor, projection: torch.Tensor, flat: list[int], points: int) -> torch.Tensor:
        return library.forward(value, projection, flat, points, device.stream())

    row: dict[str, Any] = {"name": name, "size": size}
    for dtype in ("fp32",) if device.name == "cpu" else ("fp32", "fp16"):
        found: dict[str, Any] = {}
        mixed = torch.autocast("cuda", torch.float16, enabled=dtype == "fp16")
        for what, operator in (("kernel", kernel), ("reference", deform_attn._reference)):
            with patch.object(deform_attn, "_operator", operator), torch.no_grad(), mixed:
                found[what] = model(image)
                row[f"{dtype} {what} ms"] = 1e3 * seconds(device, [[image]], model)
        a, b = found["kernel"], found["reference"]
        for output in ("class_logits", "mask_logits"):
            mine, theirs = getattr(a, output).float(), getattr(b, output).float()
            row[f"{dtype} {output} error"] = float((mine - theirs).abs().max() / theirs.abs().max())
        agree = a.class_logits.argmax(-1) == b.class_logits.argmax(-1)
        row[f"{dtype} class agreement"] = float(agree.float().mean())
    print(row)
    return row


if __name__ == "__main__":
    main()
