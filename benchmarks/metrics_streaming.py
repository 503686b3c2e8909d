"""Streaming pixel metrics against concatenating everything for scikit-learn, side by side.

Each side runs in its own process on the same generated frames (continuous float32 scores, 0.8 % anomalous pixels, 2 %
void) and reports the CPU seconds spent in the metric alone (frame generation excluded) and the process's peak memory:

    python benchmarks/metrics_streaming.py --frames 40            # both sides, with ratios and differences
    python benchmarks/metrics_streaming.py --frames 1000 --only streaming
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np


def frames(count: int, height: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield score float32 [H, W] in [0, 1] and truth uint8 [H, W] (0, 1, 255)."""
    for index in range(count):
        rng = np.random.default_rng(index)
        truth = np.zeros((height, width), np.uint8)
        truth[-height // 50 :] = 255
        side_y, side_x = height // 10, int(width * 0.08)
        y, x = rng.integers(0, height - height // 50 - side_y), rng.integers(0, width - side_x)
        truth[y : y + side_y, x : x + side_x] = 1
        logit = rng.standard_normal((height, width), np.float32) * 2 - 4
        logit[truth == 1] += 6
        yield 1 / (1 + np.exp(-logit)), truth


def streaming(args: argparse.Namespace) -> dict[str, float]:
    """Run m2a's accumulator."""
    from m2a_core.metrics.pixel import PixelMetrics

    metrics, seconds = PixelMetrics(), 0.0
    for score, truth in frames(args.frames, args.height, args.width):
        start = time.process_time()
        metrics.update(score, truth)
        seconds += time.process_time() - start
    start = time.process_time()
    result = metrics.compute()
    seconds += time.process_time() - start
    return {"auprc": result.auprc, "fpr95": result.fpr95, "auroc": result.auroc, "cpu_seconds": seconds}


def concatenating(args: argparse.Namespace) -> dict[str, float]:
    """Run scikit-learn on everything at once."""
    from sklearn.metrics import auc, average_precision_score, roc_curve

    scores, truths, seconds = [], [], 0.0
    for score, truth in frames(args.frames, args.height, args.width):
        start = time.process_time()
        counted = truth != 255
        scores.append(score[counted])
        truths.append(truth[counted])
        seconds += time.process_time() - start
    start = time.process_time()
    all_scores, all_truths = np.concatenate(scores), np.concatenate(truths)
    auprc = average_precision_score(all_truths, all_scores)
    fpr, tpr, _ = roc_curve(all_truths, all_scores, drop_intermediate=False)
    result = {"auprc": auprc, "fpr95": fpr[np.searchsorted(tpr, 0.95)], "auroc": auc(fpr, tpr)}
    return {
        **{key: float(value) for key, value in result.items()},
        "cpu_seconds": seconds + time.process_time() - start,
    }


def main() -> None:
    """Run one side in this process, or both in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--only", choices=("streaming", "concatenating"))
    args = parser.parse_args()
    if args.only:
        result = streaming(args) if args.only == "streaming" else concatenating(args)
        result["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"side": args.only, "frames": args.frames, **result}))
        return
    sides = {}
    for side in ("streaming", "concatenating"):
        size = [f"--{name}={getattr(args, name)}" for name in ("frames", "height", "width")]
        command = [sys.executable, __file__, "--only", side, *size]
        sides[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(json.dumps(sides[side]))
    ours, theirs = sides["streaming"], sides["concatenating"]
    difference = max(abs(ours[key] - theirs[key]) for key in ("auprc", "fpr95", "auroc"))
    print(
        f"{platform.processor() or platform.machine()}, numpy {np.__version__}: "
        f"{theirs['cpu_seconds'] / ours['cpu_seconds']:.1f}x faster, "
        f"{theirs['peak_gib'] / ours['peak_gib']:.1f}x less memory, "
        f"largest difference {difference:.1e}"
    )


if __name__ == "__main__":
    main()
