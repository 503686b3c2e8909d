"""Quantise a bundle's network to INT8 for `m2a build-engine --precision int8`, calibrated on real frames.

OUT/ receives the graph with explicit Q/DQ nodes and its manifest; nothing is written if its results are out of
tolerance. docs/tensorrt.md says what INT8 costs in AuPRC, FPR95 and mIoU.

example:
  m2a quantize --model m2a-edge --frames drive/ --out engines/m2a-edge-int8
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.cli.predict import find_images
from m2a_core.images import read_image

HELP = "quantise a model bundle to INT8"
EXTRA = "export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME_OR_PATH", help="bundle (default: %(default)s)")
    parser.add_argument(
        "--frames",
        nargs="+",
        required=True,
        metavar="IMAGE",
        help="real images to calibrate on, at least 8, preferably 50 from different drives",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the quantised bundle")


def run(args: argparse.Namespace) -> int:
    """Calibrate, compare, write."""
    from m2a_core.export.quantize import quantise_bundle

    bundle = load_bundle(args.model)
    frames = [read_image(path) for path in find_images(args.frames)]
    parity = quantise_bundle(bundle, frames, args.out, print)
    print(f"calibrated on {len(frames)} frames, compared on {parity.describe()}")
    print(f"written to {args.out}")
    return 0
