"""The paper's R50 network on the CPU: a straight PyTorch transcription and m2a's two paths, side by side in one run.

Every side is a process of its own, so that its peak memory is its own; they take turns, one frame each, so that a
change of the machine's load meets all of them. Weights are random, of the official format; the sides get the same ones.

  transcription  the released code's operations one by one (test/model/official_reference.py, attention as
                 torch.nn.MultiheadAttention computes it), then all mask logits at full size, sigmoid, sum over queries
  torch          `m2a predict --checkpoint`: the PyTorch network, scores in the paper's order, all open-set outputs
  onnx           `m2a predict`: the exported graph in ONNX Runtime with all open-set outputs; "network" includes the
                 per-pixel heads
  heads          these heads alone, as a graph of their own, on random logits of the same size

python -m benchmarks.cpu_network [--frames N] [--threads N] [--size HxW] [--work DIR] [--images DIR --masks DIR]
python -m benchmarks.cpu_network --edge --images DIR --masks DIR     (m2a-edge, torch against onnx)

With images and masks (m2a's plain folder layout) the AuPRC of every side is given too; with random weights that says
only how far the sides differ. The first run makes the ONNX graph, which takes minutes, and keeps it in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.answering import AnsweringProcess
from benchmarks.cpu_network_sides import DEMO_FRAMES, HEADS, SIDES, make_bundle, prepare
from m2a_core.data.files import read_truth
from m2a_core.images import read_image
from m2a_core.metrics.pixel import PixelMetrics

STAGES = ("network", "post", "total")


def main() -> None:
    """Run the sides and print times, memory, ratios and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5, help="timed frames (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--size", default="512x1024", metavar="HxW", help="default: %(default)s; with --edge the bundle's own"
    )
    parser.add_argument("--work", type=Path, default=Path("out/cpu_network"), metavar="DIR")
    parser.add_argument("--images", type=Path, default=DEMO_FRAMES, metavar="DIR")
    parser.add_argument("--masks", type=Path, metavar="DIR")
    parser.add_argument("--edge", action="store_true")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        _serve(prepare(args.side, args.work, args.size, args.threads, args.edge))
        return
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    size = make_bundle(args.work, args.size, args.edge)
    frames, truths = _frames(args.images, args.masks, args.frames, size)
    names = [name for name in SIDES if not (args.edge and name in ("transcription", HEADS))]
    sides = {name: _start(name, args) for name in names}
    for name in names:
        _ask(sides[name], name, frames[0], args.work)
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    scores: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for frame in frames:
        for name, side in sides.items():
            answers[name].append(_ask(side, name, frame, args.work))
            scores[name].append(np.load(args.work / f"{name}.npy"))
    for side in sides.values():
        side.stop()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, {args.threads} threads, {size[0]}x{size[1]}, {len(frames)} "
        f"frames, load average {os.getloadavg()[0]:.1f}; median seconds, ratio to {names[0]}"
    )
    print(
        f"{'side':14s}" + "".join(f"{stage:>18s}" for stage in STAGES) + f"{'peak GiB':>10s}{'largest difference':>20s}"
    )
    first = names[0]
    for name in names:
        row = f"{name:14s}"
        for stage in STAGES:
            mine, theirs = (float(np.median([a.get(stage, np.nan) for a in answers[n]])) for n in (name, first))
            row += f"{'':18s}" if np.isnan(mine) else f"{mine:10.3f} ({theirs / mine:4.1f}x)"
        row += f"{max(a['peak'] for a in answers[name]) / 2**30:10.2f}"
        if name != HEADS:
            apart = max(float(np.abs(a - b).max()) for a, b in zip(scores[name], scores[first], strict=True))
            row += f"{apart:20.2g}"
        print(row)
    if truths:
        for name in [name for name in names if name != HEADS]:
            metrics = PixelMetrics()
            for score, truth in zip(scores[name], truths, strict=True):
                metrics.update(score, truth)
            print(f"{name:14s} AuPRC {metrics.compute().auprc:.5f}")


def _start(name: str, args: argparse.Namespace) -> AnsweringProcess:
    arguments = ["--side", name, "--work", str(args.work), "--size", args.size, "--threads", str(args.threads)]
    log = args.work / f"{name}.log"
    return AnsweringProcess("benchmarks.cpu_network", [*arguments, *(["--edge"] if args.edge else [])], log)


def _ask(side: AnsweringProcess, name: str, frame: np.ndarray, work: Path) -> dict[str, Any]:
    """Have one frame computed: seconds by stage and peak bytes so far."""
    np.save(work / "frame.npy", frame)
    return side.ask(json.dumps([str(work / "frame.npy"), str(work / f"{name}.npy")]))


def _serve(compute: Callable[[np.ndarray], tuple[np.ndarray, dict[str, float]]]) -> None:
    """Answer one frame per line until the end."""
    with suppress(KeyboardInterrupt):
        for line in sys.stdin:
            source, target = json.loads(line)
            score, seconds = compute(np.load(source))
            np.save(target, score)
            print(json.dumps({**seconds, "peak": _peak_bytes()}), flush=True)


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _frames(
    images: Path, masks: Path | None, count: int, size: tuple[int, int]
) -> tuple[list[np.ndarray], Sequence[np.ndarray]]:
    """Images uint8 [H, W, 3] and truths uint8 [H, W] at the network's size."""
    paths = sorted(p for p in images.iterdir() if p.suffix in (".jpg", ".png"))[:count]
    shape = (size[1], size[0])
    frames = [cv2.resize(read_image(path), shape, interpolation=cv2.INTER_AREA) for path in paths]
    if masks is None:
        return frames, []
    truths = [read_truth(masks / f"{path.stem}.png") for path in paths]
    return frames, [cv2.resize(truth, shape, interpolation=cv2.INTER_NEAREST) for truth in truths]


if __name__ == "__main__":
    main()
