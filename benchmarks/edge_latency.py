"""Latency of one model on one image: network and open-set head, side by side by stage, in one process.

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
from m2a_core.types import Frame, Output

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
    perception = Perception.load(args.model, threads=args.threads)
    frame = Frame(read_image(args.image))
    wanted = frozenset({Output.ANOMALY, Output.OPEN_SET, Output.UNKNOWN_INSTANCES})
    stages = [perception.infer(frame, wanted).timings_ms for _ in range(WARM_UP + args.frames)][WARM_UP:]
    print(f"{platform.machine()}, {args.threads} threads, ONNX Runtime {onnxruntime.__version__}, "
          f"load average {os.getloadavg()[0]:.1f}, image {frame.image.shape[1]}x{frame.image.shape[0]}")  # fmt: skip
    print(f"{'stage':12s} {'min':>8s} {'median':>8s} {'p95':>8s}  ms")
    for name in [*stages[0], "total"]:
        values = np.array([sum(s.values()) if name == "total" else s[name] for s in stages])
        print(f"{name:12s} {values.min():8.1f} {np.median(values):8.1f} {np.percentile(values, 95):8.1f}")


if __name__ == "__main__":
    main()
