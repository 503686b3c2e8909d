"""Show what is in a ROS 2 bag, or make a bag with ground truth. Needs no ROS.

info: which topics m2a can evaluate, which not, and what is missing. The exit code is 1 if there is no camera.
make: objects with ground truth composed into a recorded bag (--from), or the shipped driving clip with its objects as a
      bag: DIR/bag, and DIR/truth/STAMP_NS.png for `m2a replay --gt`. The bag itself holds the labels, too:
      /m2a/truth/CAMERA/anomaly_labels for `m2a replay --gt-topic`, /m2a/truth/CAMERA/instance_ids for
      `m2a replay --gt-instances-topic`. Objects keep their place on the road by the bag's odometry or GNSS, else by
      the road's texture. All other messages, stamps and frames stay as they are.

For example:
  m2a bag make --from drive_0.mcap --every 30 --out drive_0_objects
  m2a bag info drive_0.mcap
  m2a bag make --out demo_bag && m2a replay demo_bag/bag --gt demo_bag/truth --out results
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.cli.actions import add_action
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import json_text

HELP = "look at ROS 2 bags (info), or make one with ground truth (make)"

STORAGES = ("mcap", "sqlite3")
TRANSPORTS = ("raw", "compressed")
_NO_CAMERA = _INCOMPLETE = 1

_INFO = """Which image topics m2a can evaluate, and what is missing: calibration, transforms, depth, stamps.

The exit code is 1 if there is no camera.

For example:
  m2a bag info drive_0.mcap
  m2a bag info drive_0 --json
"""
_MAKE = """A bag with unknown objects whose place is known: DIR/bag, and DIR/truth/STAMP_NS.png for `m2a replay --gt`.

For example:
  m2a bag make --out demo_bag                                             # the shipped clip
  m2a bag make --from drive_0.mcap --every 30 --out drive_0_objects       # a bag of yours
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    info = add_action(actions, "info", "what is usable for m2a and what is missing", _INFO)
    info.add_argument("bag", metavar="BAG", help="bag folder, .mcap or .db3 file; path or URL")
    info.add_argument("--json", action="store_true", help="print JSON")
    make = add_action(actions, "make", "a bag with objects and ground truth", _MAKE)
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; must not hold a bag")
    make.add_argument("--storage", choices=STORAGES, default=STORAGES[0], help="default: %(default)s")
    clip = make.add_argument_group("of the shipped clip")
    clip.add_argument("--transport", choices=TRANSPORTS, help=f"default: {TRANSPORTS[0]}")
    clip.add_argument("--frames", type=int, metavar="N", help="only the first N frames (default: all)")
    recorded = make.add_argument_group("of a recorded bag")
    recorded.add_argument("--from", dest="source", metavar="BAG", help="bag folder, .mcap or .db3 file; path or URL")
    recorded.add_argument("--topic", metavar="TOPIC[=CAMERA]", help="its camera (default: the only one)")
    recorded.add_argument(
        "--objects", type=Path, metavar="DIR", help="PNGs with alpha (default: shapes that m2a draws)"
    )
    recorded.add_argument(
        "--every", type=float, default=25.0, metavar="METRES", help="between objects (default: %(default)g)"
    )
    recorded.add_argument(
        "--mounting",
        action="append",
        default=[],
        metavar="height=M[,pitch=RAD]",
        help="where the camera sits (default: /tf_static of the bag, else 1.5 m above the road)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.action == "info":
        from m2a_ros.bag.info import describe, in_words
        from m2a_ros.bag.locations import path_of

        found = describe(path_of(args.bag))
        print(json_text(found, indent=2) if args.json else in_words(found))
        return 0 if found["cameras"] else _NO_CAMERA
    if args.source is not None:
        return _compose(args)
    from m2a_ros.bag.make import make_bag
    from m2a_ros.process.shared_files import shared_file

    clip = shared_file("config/demo/clip.yaml").parent
    try:
        count = make_bag(clip, args.out, args.storage, args.transport or TRANSPORTS[0], args.frames)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(f"{count} frames written to {args.out / 'bag'}, their ground truth to {args.out / 'truth'}")
    return 0


def _compose(args: argparse.Namespace) -> int:
    from m2a_ros.bag.compose import compose_bag
    from m2a_ros.bag.locations import path_of

    if args.transport is not None or args.frames is not None:
        raise ConfigError("--transport and --frames are of the shipped clip; a recorded bag (--from) stays as it is")
    try:
        made = compose_bag(
            path_of(args.source), args.out, args.storage, args.topic, args.objects, args.every, tuple(args.mounting)
        )
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(f"{made.images} images with {made.objects} objects on the road written to {args.out / 'bag'}")
    for note in made.notes:
        print(f"  {note}")
    if made.skipped:
        print(f"  NOT composed: {made.skipped} images that cannot be decoded; copied as they are, without ground truth")
    return _INCOMPLETE if made.skipped else 0
