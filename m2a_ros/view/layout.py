"""Write a layout for RViz or Foxglove that shows your node's cameras.

For example:
  m2a layout rviz --cameras front,rear --node /car/m2a --out car.rviz     # rviz2 -d car.rviz
  m2a layout foxglove --cameras front,rear --out car.foxglove.json        # "Import from file"
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.errors import ConfigError
from m2a_ros.view.foxglove import foxglove_layout
from m2a_ros.view.rviz import rviz_config

HELP = "write an RViz or Foxglove layout for your cameras"

_WRITERS = {"rviz": rviz_config, "foxglove": foxglove_layout}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("program", choices=sorted(_WRITERS), help="what shows it")
    parser.add_argument("--cameras", default="front", metavar="A,B", help="with commas between (default: %(default)s)")
    parser.add_argument(
        "--node", default="m2a", metavar="NAME", help="the node, with its namespace (default: %(default)s)"
    )
    parser.add_argument("--frame", default="base_link", help="the node's base_frame (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    from m2a_ros.parameters.settings import check_cameras

    cameras = check_cameras(name.strip() for name in args.cameras.split(","))
    text = _WRITERS[args.program](f"/{args.node.strip('/')}", cameras, args.frame)
    try:
        args.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {args.out}: cannot be written ({error.strerror})") from error
    print(f"wrote {args.out}")
    return 0
