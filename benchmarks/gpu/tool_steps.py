"""NVIDIA's tools over the kernel: compute-sanitizer on the case table, counters of Nsight Compute on one layer."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.record import Row, Skipped
from benchmarks.gpu.timing import Device

TOOLS = ("memcheck", "initcheck", "synccheck")
FOUND = 86
"""Exit status of compute-sanitizer where it found something."""
LIMIT_S = 300
METRICS = (
    "gpu__time_duration.sum",
    "smsp__inst_executed.sum",
    "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum",
    "l1tex__t_sector_pipe_lsu_mem_global_op_ld_hit_rate.pct",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_global_op_ld.sum",
    "l1tex__data_pipe_lsu_wavefronts.sum",
    "lts__t_sectors_srcunit_tex_op_read.sum",
    "dram__bytes_read.sum",
)
"""Of the forward kernel: docs/kernel.md expects 17 million instructions and 30 MB, 0.9 million sectors, from L2."""


def sanitize(library: Path, device: Device) -> Iterator[Row]:
    """The case table and its gradients under each tool; on the CPU the same process without one."""
    command = [sys.executable, "-m", "benchmarks.gpu.alone", str(library), "cases", "--device", device.name]
    if device.name == "cpu":
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        yield {"tool": "none, a rehearsal", "ok": done.returncode == 0, "said": _last(done.stdout + done.stderr)}
        return
    program = find_tool("compute-sanitizer")
    if program is None:
        raise Skipped("no compute-sanitizer: it comes with the CUDA toolkit")
    # Each tensor an allocation of its own, so that a read beyond its end is one.
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    for tool in TOOLS:
        watched = [str(program), "--tool", tool, "--error-exitcode", str(FOUND), *command]
        try:
            done = subprocess.run(
                watched, capture_output=True, text=True, check=False, timeout=LIMIT_S, env=environment
            )
        except subprocess.TimeoutExpired:
            yield {"tool": tool, "ok": False, "said": f"not done after {LIMIT_S} s"}
            continue
        yield {"tool": tool, "ok": done.returncode == 0, "said": _last(done.stdout + done.stderr)}


def counters(library: Path, device: Device) -> Iterator[Row]:
    """What the forward kernel does to the multiprocessors, L1 and L2."""
    if device.name == "cpu":
        raise Skipped("a rehearsal: the CPU has no such counters")
    program = find_tool("ncu")
    if program is None:
        raise Skipped("no ncu: Nsight Compute comes with the CUDA toolkit")
    command = [str(program), "--csv", "--page", "raw", "--kernel-name", "regex:forward_kernel", "--launch-count", "1"]
    command += ["--metrics", ",".join(METRICS), sys.executable, "-m", "benchmarks.gpu.alone", str(library), "layer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    if "ERR_NVGPUCTRPERM" in done.stdout + done.stderr:
        raise Skipped("counters are for root alone here (ERR_NVGPUCTRPERM)")
    found = read_counters(done.stdout)
    if not found:
        raise Skipped(f"ncu gave no counters: {_last(done.stdout + done.stderr)}")
    yield found


def read_counters(printed: str) -> Row:
    """Values by metric, units appended to the names, of ncu's raw page: a line of names, one of units, then values."""
    lines = [line for line in printed.splitlines() if line.startswith('"')]
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    if len(rows) < 3:
        return {}
    return {
        f"{name} [{unit}]" if unit else name: value
        for name, unit, value in zip(*rows[:3], strict=False)
        if name in METRICS or name in ("Kernel Name", "Block Size", "Grid Size")
    }


def find_tool(name: str) -> Path | None:
    """A program of the CUDA toolkit, on the PATH or where its packages put it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")
    return Path(found) if found else None


def _last(text: str) -> str:
    return text.strip()[-500:]
