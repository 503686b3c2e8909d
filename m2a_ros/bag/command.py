"""Look at ROS 2 bags, and make one with ground truth, without ROS.

info: which topics m2a can evaluate and which not, and what is missing. The exit code is 1 if there is no camera.
make: the shipped driving clip with composed objects as a bag: DIR/bag, and DIR/truth/STAMP_NS.png for
      `m2a replay --gt`.

For example:
  m2a bag info drive_0.mcap
  m2a bag make --out demo_bag && m2a replay demo_bag/bag --gt demo_bag/truth --out results
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from m2a_core.errors import DataError

HELP = "look at ROS 2 bags (info), or make one with ground truth (make)"

STORAGES = ("mcap", "sqlite3")
TRANSPORTS = ("raw", "compressed")
_NO_CAMERA = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    info = actions.add_parser("info", help="what is usable for m2a and what is missing")
    info.add_argument("bag", type=Path, metavar="BAG", help="bag folder, .mcap or .db3 file")
    info.add_argument("--json", action="store_true", help="print JSON")
    make = actions.add_parser("make", help="the shipped driving clip as a bag, with ground truth")
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; must not hold a bag")
    make.add_argument("--storage", choices=STORAGES, default=STORAGES[0], help="default: %(default)s")
    make.add_argument("--transport", choices=TRANSPORTS, default=TRANSPORTS[0], help="default: %(default)s")
    make.add_argument("--frames", type=int, metavar="N", help="only the first N frames (default: all)")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.action == "info":
        from m2a_ros.bag.info import describe, in_words

        found = describe(args.bag)
        print(json.dumps(found, indent=2) if args.json else in_words(found))
        return 0 if found["cameras"] else _NO_CAMERA
    from m2a_ros.bag.make import make_bag
    from m2a_ros.resources import shared_file

    clip = shared_file("config/demo/clip.yaml").parent
    try:
        count = make_bag(clip, args.out, args.storage, args.transport, args.frames)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(f"{count} frames written to {args.out / 'bag'}, their ground truth to {args.out / 'truth'}")
    return 0
