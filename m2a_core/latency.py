"""Latency of perception by stage, several back ends side by side in one process."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import M2aError
from m2a_core.perception import Perception
from m2a_core.runtime.factory import BACKENDS, create_runtime
from m2a_core.types import ALL_OUTPUTS, FarEnd, Frame

WARM_UP = 2
_PERIOD_NS = 10**8


@dataclass
class Side:
    """One way to run a model, and what it took.

    Attributes:
        backend: its name.
        horizon: whether the road's far end is looked at a second time.
        perception: the loaded model.
        timings_ms: stages of every measured frame.
    """

    backend: str
    horizon: bool
    perception: Perception = field(repr=False)
    timings_ms: list[dict[str, float]] = field(default_factory=list, repr=False)

    @property
    def stages_ms(self) -> dict[str, float]:
        """Median of every stage."""
        return {name: float(np.median([t[name] for t in self.timings_ms])) for name in self.timings_ms[0]}

    @property
    def latency_ms(self) -> dict[str, float]:
        """Percentiles of a whole frame, and the fastest."""
        totals = [sum(timings.values()) for timings in self.timings_ms]
        p50, p95, p99 = (float(v) for v in np.percentile(totals, (50, 95, 99)))
        return {"p50": p50, "p95": p95, "p99": p99, "min": float(min(totals))}

    @property
    def frames_per_second(self) -> float:
        """One frame after the other, by the median."""
        return 1e3 / self.latency_ms["p50"]

    def to_json(self) -> dict[str, Any]:
        """What ``m2a benchmark --json`` prints of it."""
        return {
            "backend": self.backend,
            "horizon_window": self.horizon,
            "frames": len(self.timings_ms),
            "latency_ms": self.latency_ms,
            "stages_ms": self.stages_ms,
            "frames_per_second": self.frames_per_second,
        }


def sides_of(
    model: str, backends: Sequence[str] | None = None, threads: int | None = None
) -> tuple[list[Side], dict[str, str]]:
    """Load a model with every back end, with and without the horizon window.

    Args:
        model: name or path of a bundle.
        backends: of ``BACKENDS``; None = all, and those that cannot run here are left out.
        threads: see ``create_runtime``.

    Returns:
        The sides, and why back ends were left out, by name.

    Raises:
        ModelError: the bundle is not whole, or a back end that was named cannot run it.
    """
    bundle = load_bundle(model)
    sides: list[Side] = []
    left_out: dict[str, str] = {}
    for backend in backends or BACKENDS:
        try:
            runtime = create_runtime(bundle, backend, threads)
        except (M2aError, ImportError) as error:
            if backends:
                raise
            left_out[backend] = str(error)
            continue
        windows = (False, True) if bundle.manifest.labels.road is not None else (False,)
        sides += [Side(backend, on, Perception(bundle.manifest, runtime, horizon=on)) for on in windows]
    return sides, left_out


def measure(sides: Sequence[Side], image: np.ndarray, seconds: float) -> None:
    """Let every side perceive an image in turn, all outputs, until the time is over; twice at least.

    Args:
        sides: what to measure; timings are added to them.
        image: uint8 [H, W, 3], RGB.
        seconds: for all sides together.
    """
    last: list[FarEnd | None] = [None] * len(sides)
    end = perf_counter() + seconds
    number = 0
    while number < WARM_UP + 2 or perf_counter() < end:
        for i, side in enumerate(sides):
            result = side.perception.infer(Frame(image, stamp_ns=10**9 + number * _PERIOD_NS), ALL_OUTPUTS, last[i])
            last[i] = None if result.horizon is None else result.horizon.far_end
            if number >= WARM_UP:
                side.timings_ms.append(dict(result.timings_ms))
        number += 1


def machine() -> dict[str, Any]:
    """What a figure must be told with: processor, cores, load, versions."""
    import onnxruntime

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith(("model name", "Model"))]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
