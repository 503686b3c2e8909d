"""The kernel alone: its case table, its gradients, and the time of one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.record import Row
from benchmarks.gpu.timing import Device, duration, floors
from m2a_core.ops import deform_attn
from m2a_core.ops.kernel_library import KernelLibrary
from test.ops.cases import CASES, POINTS, Case, tolerance
from test.ops.reference import deformable_attention

TYPES = {"fp32": torch.float32, "fp16": torch.float16}


def check_cases(library: KernelLibrary, device: Device) -> Iterator[Row]:
    """Every case in both types against the float64 definition."""
    for case in CASES:
        for name, dtype in (("fp32", np.float32), ("fp16", np.float16)):
            value, projection = case.inputs(dtype)
            with np.errstate(invalid="ignore"):
                want = deformable_attention(value, projection, case.shapes, POINTS)
            tensors = (torch.from_numpy(x).to(device.name) for x in (value, projection))
            got = library.forward(*tensors, _flat(case.shapes), POINTS, device.stream()).cpu().numpy()
            finite = np.isfinite(want)
            error = np.abs(got[finite].astype(np.float64) - want[finite])
            limit = tolerance(want, value, case.shapes)[finite]
            right = np.array_equal(np.isfinite(got), finite) and bool((error <= limit).all())
            yield {"name": case.name, "type": name, "error": float(error.max(initial=0)), "ok": right}


def check_gradients(library: KernelLibrary, device: Device) -> Iterator[Row]:
    """Backward in both types against that of the reference in FP32 on the CPU, which has the same slopes at kinks."""
    for case in (case for case in CASES if case.differentiable and case.batch):
        for name, dtype in (("fp32", np.float32), ("fp16", np.float16)):
            yield _gradients_of(library, device, case, name, dtype)


def _gradients_of(library: KernelLibrary, device: Device, case: Case, name: str, dtype: type) -> Row:
    inputs = [torch.from_numpy(x) for x in case.inputs(dtype)]
    shape = (*inputs[0].shape[:2], case.heads * case.dim)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(inputs[0].dtype)
    exact = (x.float() for x in (grad, *inputs))
    want = deform_attn._backward_reference(*exact, _flat(case.shapes), POINTS)
    tensors = (x.to(device.name) for x in (grad, *inputs))
    got = library.backward(*tensors, _flat(case.shapes), POINTS, device.stream())
    errors = [
        float((a.cpu().float() - b).abs().max() / b.abs().max().clamp(min=1e-6)) if b.numel() else 0.0
        for a, b in zip(got, want, strict=True)
    ]
    # FP32 knows a place in a level of 1000 cells to 1e-4 of a cell; FP16 rounds the result, and 1e-7 to few bits.
    rounding = 0.0 if name == "fp32" else 0.05 if case.name == "fp16 subnormals" else 2e-3
    limit = 2e-5 + 1e-6 * max(_flat(case.shapes)) + rounding
    finite = all(bool(x.isfinite().all()) for x in got)
    return {"name": case.name, "type": name, "error": max(errors), "ok": finite and max(errors) < limit}


def layer_inputs(shapes: deform_attn.Shapes, heads: int, dim: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Value and projection of standard normal numbers, offsets and logits twice as large."""
    keys = sum(h * w for h, w in shapes)
    value = torch.randn(1, keys, heads, dim, generator=generator)
    return [value, 2 * torch.randn(1, keys, 3 * heads * len(shapes) * POINTS, generator=generator)]


def time_layer(
    library: KernelLibrary, device: Device, name: str, shapes: deform_attn.Shapes, heads: int, dim: int, dtype: str
) -> Row:
    """One layer by the kernel, the reference and GridSample, forward and backward, each eager and as a CUDA graph.

    The results are compared too: a figure of a wrong kernel is none.
    """
    flat = _flat(shapes)
    keys = sum(h * w for h, w in shapes)
    generator = torch.Generator().manual_seed(0)
    # More inputs than the GPU's L2 holds, in turn: repeated runs on one would measure the cache.
    sets = [
        [x.to(device.name, TYPES[dtype]) for x in layer_inputs(shapes, heads, dim, generator)]
        for _ in range(device.input_sets)
    ]
    grad = torch.randn(1, keys, heads * dim, generator=generator).to(device.name, TYPES[dtype])
    calls: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
        "kernel": lambda v, p: library.forward(v, p, flat, POINTS, device.stream()),
        "reference": lambda v, p: deform_attn._reference(v, p, flat, POINTS),
        "grid_sample": lambda v, p: deform_attn.ms_deform_attn_grid_sample(v, p, shapes, POINTS),
        "backward kernel": lambda v, p: library.backward(grad, v, p, flat, POINTS, device.stream()),
        "backward reference": lambda v, p: deform_attn._backward_reference(grad, v, p, flat, POINTS),
    }
    row: Row = {"name": name, "type": dtype, "keys": keys}
    with torch.no_grad():
        errors = [_difference(calls["kernel"](*sets[0]), calls["reference"](*sets[0]))]
        pairs = zip(calls["backward kernel"](*sets[0]), calls["backward reference"](*sets[0]), strict=True)
        errors += [_difference(a, b) for a, b in pairs]
        row["errors"] = dict(zip(("forward", "value gradient", "projection gradient"), errors, strict=True))
        row["ok"] = max(errors) < (1e-2 if dtype == "fp16" else 1e-3)
        row["eager"] = {what: duration(device, sets, call) for what, call in calls.items()}
        if device.name == "cuda":
            row["graph"] = {what: _replayed(device, sets, call) for what, call in calls.items()}
    for mode in ("eager", "graph"):
        times = {what: taken["median_us"] for what, taken in row.get(mode, {}).items() if "median_us" in taken}
        pairs_of = (("kernel", "reference"), ("kernel", "grid_sample"), ("backward kernel", "backward reference"))
        row[f"{mode} times faster"] = {
            f"{mine} than {theirs}": times[theirs] / times[mine]
            for mine, theirs in pairs_of
            if mine in times and theirs in times
        }
    if device.name == "cuda":
        least = floors(device, keys, heads, dim, len(shapes) * POINTS, TYPES[dtype].itemsize)
        row["floor_us"] = least
        row["nearest_floor"] = max(least, key=lambda what: least[what])
        row["fraction_of_floor"] = max(least.values()) / row["graph"]["kernel"]["median_us"]
    return row


def _replayed(device: Device, sets: list[list[torch.Tensor]], call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return duration(device, sets, call, graph=True)
    except RuntimeError as error:
        return {"not captured": str(error).splitlines()[0]}


def _difference(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference by the largest of the second."""
    return float((mine.float() - theirs.float()).abs().max() / theirs.float().abs().max())


def _flat(shapes: deform_attn.Shapes) -> list[int]:
    return [side for shape in shapes for side in shape]
