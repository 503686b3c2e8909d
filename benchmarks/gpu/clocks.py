"""Clocks of the GPU, by nvidia-smi or, on a Jetson, by the kernel's files; nothing where neither tells."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

QUERY = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_event_reasons.active", "pstate")
DEVFREQ = Path("/sys/class/devfreq")
GPU_NAMES = ("gpu", "gp10b", "gv11b", "ga10b", "gb10b")


def clocks() -> dict[str, Any]:
    """As they are now, in the units of nvidia-smi or in Hz."""
    values = _smi(*QUERY)
    if values:
        return dict(zip(QUERY, values, strict=True))
    device = _jetson()
    if device is None:
        return {}
    return {name: _number(device / name) for name in ("cur_freq", "max_freq")}


def highest_clock() -> float | None:
    """Of the multiprocessors, in Hz; None where nobody tells."""
    values = _smi("clocks.max.sm")
    if values:
        return 1e6 * float(values[0])
    device = _jetson()
    return _number(device / "max_freq") if device is not None else None


def _smi(*names: str) -> list[str]:
    """Answers of nvidia-smi, or nothing where one of them is missing, as on a Jetson."""
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    values = [value.strip() for value in done.stdout.strip().split(",")]
    known = done.returncode == 0 and len(values) == len(names) and values[0].replace(".", "").isdigit()
    return values if known else []


def _jetson() -> Path | None:
    found = sorted(DEVFREQ.glob("*")) if DEVFREQ.is_dir() else []
    return next((path for path in found if any(name in path.name for name in GPU_NAMES)), None)


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
