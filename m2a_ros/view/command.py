"""Show the node's outputs in the Rerun viewer: overlay, anomaly map, instances, and the markers in 3D.

From a running node (needs ROS), or from a bag that holds its topics: BAG is a bag, or what `m2a replay --out` wrote.

For example:
  m2a view --node /m2a --camera front
  m2a view --bag results                           # all bags of a replay; one of them: results/drive_0/bag
  m2a view --bag results --save drive.rrd          # no window: for `rerun drive.rrd` on another machine
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.errors import ConfigError
from m2a_core.extras import install_command

HELP = "show a node's or a bag's outputs in the Rerun viewer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--node", default="/m2a", metavar="NAME", help="running node (default: %(default)s)")
    source.add_argument(
        "--bag", metavar="BAG", help="bag folder, .mcap or .db3 file (path or URL), or the folder of a replay"
    )
    parser.add_argument(
        "--camera", action="append", metavar="NAME", help="camera to show; may be repeated (default: all)"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write a Rerun recording and open no window")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds (running node only)")


def run(args: argparse.Namespace) -> int:
    """Show until the bag ends, the time is over or Ctrl-C."""
    try:
        from m2a_ros.view.rerun_sink import RerunSink
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rerun":
            raise
        raise ConfigError(f"m2a view needs the Rerun viewer: {install_command('view')}") from error
    cameras = tuple(args.camera or ())
    if args.bag is not None:
        from m2a_ros.bag.locations import path_of
        from m2a_ros.view.from_bag import bags_of, show_bag

        bags = bags_of(path_of(args.bag))
        sink = RerunSink(args.save)
        count = sum(show_bag(bag, cameras, sink) for bag in bags)
    else:
        from m2a_ros.view.live import show_node

        sink = RerunSink(args.save)
        count = show_node(args.node, cameras, sink, args.seconds)
    sink.close()
    print(f"{count} messages shown" + (f", written to {args.save}" if args.save else ""))
    return 0
