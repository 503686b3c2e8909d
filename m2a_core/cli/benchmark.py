"""Measure how fast this machine runs a model, by stage and back end, in about half a minute.

All installed back ends take turns frame by frame, with and without the horizon window, so that other load on the
machine slows them equally. Latency is measured from the image in memory to all maps and instances; it leaves out
reading the image and ROS.

For example:
  m2a benchmark
  m2a benchmark --image 1920x1080 --backend onnxruntime --threads 2 --json
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from m2a_core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from m2a_core.latency import Side

HELP = "measure a model's latency and frame rate on this machine, by stage and back end"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from m2a_core.bundle.loading import DEFAULT_MODEL
    from m2a_core.runtime.factory import BACKENDS

    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|DIR", help="bundle (default: %(default)s)")
    parser.add_argument(
        "--backend", action="append", choices=BACKENDS, help="repeatable (default: every one that is installed)"
    )
    parser.add_argument(
        "--image", metavar="FILE|WxH", help="image, or a shipped frame at this size (default: a shipped frame)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the network (default: all cores)")
    parser.add_argument(
        "--seconds", type=float, default=25.0, metavar="S", help="how long to measure (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from m2a_core.files import json_text
    from m2a_core.latency import machine, measure, sides_of

    if args.seconds <= 0:
        raise ConfigError(f"--seconds: expected more than 0, got {args.seconds:g}")
    image = _image(args.image)
    sides, left_out = sides_of(args.model, args.backend, args.threads)
    if not sides:
        raise ConfigError(
            f"no back end runs '{args.model}': " + "; ".join(f"{b}: {why}" for b, why in left_out.items())
        )
    measure(sides, image, args.seconds)
    height, width = image.shape[:2]
    about = machine() | {"model": args.model, "image": f"{width}x{height}", "threads": args.threads}
    if args.json:
        runs = [side.to_json() for side in sides]
        print(json_text(about | {"runs": runs, "left_out": left_out}, indent=2))
        return 0
    print(", ".join(f"{key} {value}" for key, value in about.items() if value is not None))
    print("\n".join(_table(sides)))
    if left_out:
        said = f"not usable here: {', '.join(left_out)}; `m2a benchmark --backend NAME` says what one of them needs"
        print(said, file=sys.stderr)
    return 0


def _image(given: str | None) -> np.ndarray:
    from pathlib import Path

    import cv2

    from m2a_core.bundle.loading import shipped_frames
    from m2a_core.images import read_image

    size = re.fullmatch(r"(\d+)x(\d+)", given or "")
    if given is not None and size is None:
        return read_image(Path(given))
    image = read_image(sorted(shipped_frames().glob("*.jpg"))[0])
    if size is None:
        return image
    width, height = map(int, size.groups())
    if not (16 <= width <= 16384 and 16 <= height <= 16384):
        raise ConfigError(f"--image {given}: expected 16 to 16384 pixels a side")
    resized: np.ndarray = cv2.resize(image, (width, height))
    return resized


def _table(sides: list[Side]) -> list[str]:
    stages = list(sides[0].stages_ms)
    columns = [*stages, "p50", "p95", "p99", "min"]
    lines = [f"{'milliseconds':24}" + "".join(f"{name:>12}" for name in columns) + f"{'frames/s':>10}"]
    for side in sides:
        values = [*side.stages_ms.values(), *(side.latency_ms[key] for key in ("p50", "p95", "p99", "min"))]
        name = f"{side.backend}{' + window' if side.horizon else ''}"
        lines.append(f"{name:24}" + "".join(f"{v:12.1f}" for v in values) + f"{side.frames_per_second:10.1f}")
    return lines
