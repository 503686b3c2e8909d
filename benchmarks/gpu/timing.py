"""Time on a GPU, or on the CPU for rehearsals, and the least that the hardware allows."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import cached_property

import torch

REPETITIONS = 30
L1_BYTES_PER_CLOCK = 128
"""Of one multiprocessor, from compute capability 7.0 on."""


class Device:
    """Where things run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.input_sets = 8 if name == "cuda" else 1

    def stream(self) -> int:
        """Handle of the stream that PyTorch uses now."""
        return torch.cuda.current_stream().cuda_stream if self.name == "cuda" else 0

    @cached_property
    def bandwidth(self) -> float:
        """Bytes a second that a large copy reads and writes."""
        a = torch.randn(1 << 28, device=self.name)
        b = torch.empty_like(a)
        return 2 * a.nbytes / seconds(self, [[a]], b.copy_)

    @cached_property
    def clock(self) -> float:
        """Highest clock of the multiprocessors, in Hz."""
        command = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
        return 1e6 * float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])


def seconds(
    device: Device, sets: Sequence[list[torch.Tensor]], call: Callable[..., object], graph: bool = False
) -> float:
    """Median time of one call, over every set of inputs in turn.

    Args:
        device: where the inputs are.
        sets: arguments.
        call: the work.
        graph: replay a captured graph, for work shorter than its launch from Python.
    """
    with torch.no_grad():
        if device.name == "cpu":
            return _wall(sets, call)
        for tensors in sets:
            call(*tensors)
        torch.cuda.synchronize()
        if graph:
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                for tensors in sets:
                    call(*tensors)
            return _events(captured.replay) / len(sets)
        return _events(lambda: [call(*tensors) for tensors in sets]) / len(sets)


def _wall(sets: Sequence[list[torch.Tensor]], call: Callable[..., object]) -> float:
    start = time.perf_counter()
    for tensors in sets:
        call(*tensors)
    return (time.perf_counter() - start) / len(sets)


def _events(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPETITIONS):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        run()
        after.record()
        after.synchronize()
        taken.append(before.elapsed_time(after) / 1e3)
    return statistics.median(taken)


def floors(device: Device, keys: int, heads: int, dim: int, samples: int, size: int) -> dict[str, float]:
    """Least time of one layer: every tensor once through memory, every neighbour once through L1.

    Args:
        device: a GPU.
        keys: S.
        heads: N.
        dim: D.
        samples: L * P.
        size: bytes of a number.
    """
    moved = keys * heads * (2 * dim + 3 * samples) * size
    gathered = keys * heads * samples * 4 * dim * size
    sms = torch.cuda.get_device_properties(0).multi_processor_count
    return {"memory": moved / device.bandwidth, "L1": gathered / (sms * L1_BYTES_PER_CLOCK * device.clock)}
