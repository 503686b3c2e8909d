"""Latency of one model on one image by stage: one look, and two with the horizon window, frame about, in one process.

python benchmarks/edge_latency.py [--model NAME_OR_PATH] [--image FILE] [--threads N] [--frames N]
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import numpy as np
import onnxruntime

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.images import read_image
from m2a_core.perception import Perception
from m2a_core.types import FarEnd, Frame, Output

DEMO_FRAME = Path(__file__).parent.parent / "config" / "demo" / "frames" / "000.jpg"
WARM_UP = 5


def main() -> None:
    """Print minimum, median and 95th percentile of every stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--image", type=Path, default=DEMO_FRAME)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=60)
    args = parser.parse_args()
    looks = {
        name: Perception.load(args.model, threads=args.threads, horizon=horizon)
        for name, horizon in (("one look", False), ("two looks", True))
    }
    image = read_image(args.image)
    wanted = frozenset({Output.SCORE, Output.OPEN_SET, Output.UNKNOWN_INSTANCES})
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in looks}
    last: FarEnd | None = None
    for number in range(WARM_UP + args.frames):
        for name, perception in looks.items():
            result = perception.infer(Frame(image, stamp_ns=10**9 + number * 10**8), wanted, last)
            last = last if result.horizon is None else result.horizon.far_end
            stages[name].append(result.timings_ms)
    print(
        f"{platform.machine()}, {args.threads} threads, ONNX Runtime {onnxruntime.__version__}, "
        f"load average {os.getloadavg()[0]:.1f}, image {image.shape[1]}x{image.shape[0]}"
    )
    print(f"{'':9s} {'stage':12s} {'min':>8s} {'median':>8s} {'p95':>8s}  ms")
    medians = {}
    for name, timings in stages.items():
        for stage in [*timings[0], "total"]:
            values = np.array([sum(s.values()) if stage == "total" else s[stage] for s in timings[WARM_UP:]])
            medians[name] = float(np.median(values))
            print(f"{name:9s} {stage:12s} {values.min():8.1f} {medians[name]:8.1f} {np.percentile(values, 95):8.1f}")
    print(f"two looks / one look, medians of the total: {medians['two looks'] / medians['one look']:.2f}")


if __name__ == "__main__":
    main()
