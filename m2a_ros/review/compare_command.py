"""Compare two finished replays with ground truth, frame by frame: is B better than A?

DIR receives comparison.html and comparison.json: the differences of all figures, with bootstrap intervals over blocks
of --segment seconds, and the frames that changed most.

For example:
  m2a replay drives/* --gt truth --model m2a-edge --out before
  m2a replay drives/* --gt truth --model runs/own/bundle --out after
  m2a replay compare before after --out comparison
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.errors import DataError

HELP = "compare two finished replays with ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="A_DIR and B_DIR: what replay wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; created if missing")
    parser.add_argument(
        "--segment", type=float, metavar="SECONDS", help="length of the blocks that are resampled (default: 10)"
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from m2a_ros.review.compare_page import run_compare

    try:
        print(run_compare(args.folders, args.out, args.segment))
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    return 0
