"""Time on a GPU, or on the CPU for rehearsals, and the least that the hardware allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch

from benchmarks.gpu.clocks import highest_clock

REPETITIONS = 30
L1_BYTES_PER_CLOCK = 128
"""Of one multiprocessor, from compute capability 7.0 on."""
INSTRUCTIONS_PER_CLOCK = 4
"""Of one multiprocessor, for a warp each."""


class Device:
    """Where things run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.input_sets = 8 if name == "cuda" else 1
        self.clock = highest_clock() if name == "cuda" else None

    def stream(self) -> int:
        """Handle of the stream that PyTorch uses now."""
        return torch.cuda.current_stream().cuda_stream if self.name == "cuda" else 0

    @cached_property
    def bandwidth(self) -> float:
        """Bytes a second that a large copy reads and writes."""
        free = torch.cuda.mem_get_info()[0]
        a = torch.zeros(min(1 << 28, free // 16), device=self.name)
        b = torch.empty_like(a)
        return 2 * a.nbytes / (1e-6 * duration(self, [[a]], b.copy_)["median_us"])


def duration(
    device: Device, sets: Sequence[list[torch.Tensor]], call: Callable[..., object], graph: bool = False
) -> dict[str, float]:
    """Time of one call, over every set of inputs in turn.

    Args:
        device: where the inputs are.
        sets: arguments.
        call: the work.
        graph: replay a captured graph, for work shorter than its launch from Python.

    Returns:
        Median, tenth and ninetieth percentile in microseconds, and how many runs they are of.

    Raises:
        RuntimeError: the work cannot be captured.
    """
    if device.name == "cpu":
        return _summary([_wall(sets, call)])
    for tensors in sets:
        call(*tensors)
    torch.cuda.synchronize()
    if graph:
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            for tensors in sets:
                call(*tensors)
        return _summary([taken / len(sets) for taken in _events(captured.replay)])
    return _summary([taken / len(sets) for taken in _events(lambda: [call(*tensors) for tensors in sets])])


def _summary(seconds: list[float]) -> dict[str, float]:
    low, median, high = np.quantile(np.array(seconds), (0.1, 0.5, 0.9)) * 1e6
    return {"median_us": float(median), "p10_us": float(low), "p90_us": float(high), "runs": len(seconds)}


def _wall(sets: Sequence[list[torch.Tensor]], call: Callable[..., object]) -> float:
    start = time.perf_counter()
    for tensors in sets:
        call(*tensors)
    return (time.perf_counter() - start) / len(sets)


def _events(run: Callable[[], object]) -> list[float]:
    taken = []
    for _ in range(REPETITIONS):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        run()
        after.record()
        after.synchronize()
        taken.append(before.elapsed_time(after) / 1e3)
    return taken


def floors(device: Device, keys: int, heads: int, dim: int, samples: int, size: int) -> dict[str, float]:
    """Least microseconds of one layer forward, for each thing that may bound it.

    Args:
        device: a GPU.
        keys: S.
        heads: N.
        dim: D.
        samples: L * P.
        size: bytes of a number.

    Returns:
        ``memory``: every tensor once. Where the clock is known, also ``L1``: every neighbour once, and ``issue``: the
        instructions that unpack neighbours and add them up, which no other way of finding them saves.
    """
    moved = keys * heads * (2 * dim + 3 * samples) * size
    least = {"memory": 1e6 * moved / device.bandwidth}
    if device.clock is not None:
        cycles = torch.cuda.get_device_properties(0).multi_processor_count * device.clock
        gathered = keys * heads * samples * 4 * dim * size
        least["L1"] = 1e6 * gathered / (cycles * L1_BYTES_PER_CLOCK)
        each = 2 if size == 2 else 1
        least["issue"] = 1e6 * keys * heads * samples * 4 * dim * each / 32 / (cycles * INSTRUCTIONS_PER_CLOCK)
    return least
