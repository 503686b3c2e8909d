"""Play a real driving clip through the ROS 2 node and show what it finds.

It makes a bag of the clip, played forwards and backwards (`m2a bag make`), replays it at its own pace through the node
over DDS (`m2a replay --mode realtime`: the node answers as fast as it can, the latest frame wins), and writes a report.
Objects were composed into the clip, so that there is ground truth; see config/demo/NOTICE.md.

DIR then holds overlay.webm, contact_sheet.png, report.html (plots) and figures.json. The exit code is 0 only if at
least one frame was answered and every output carries the stamp and frame of an image that was sent, 1 if not.

For example:
  m2a demo
  m2a demo --model engines/m2a-edge --duration 60 --rate 10 --out results
"""

from __future__ import annotations

import argparse
import shutil
from importlib import import_module
from pathlib import Path

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.compose.clip import load_clip
from m2a_core.errors import ConfigError, DataError

HELP = "play a driving clip through the ROS 2 node and show what it finds"

_RATES = (0.5, 120.0)
_DURATIONS = (1.0, 3600.0)
_UNSOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=Path("m2a_demo_out"), metavar="DIR", help="where to write (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_PATH",
        help="name of a bundle, its directory or its .onnx file (default: %(default)s)",
    )
    parser.add_argument(
        "--duration", type=float, default=15.0, metavar="SECONDS", help="how long to play (default: %(default)g)"
    )
    parser.add_argument("--rate", type=float, metavar="HZ", help="frames per second (default: the clip's own, 25)")


def run(args: argparse.Namespace) -> int:
    """Make the bag, replay it, sum up and print."""
    for package in ("rclpy", "rosbags"):
        import_module(package)  # Its absence is said here, not in the log of a child process.
    from m2a_ros.demo.drive import replay_drive
    from m2a_ros.demo.summary import summarize
    from m2a_ros.process.shared_files import shared_file

    clip = load_clip(shared_file("config/demo/clip.yaml").parent)
    rate = clip.frame_rate if args.rate is None else args.rate
    _check_range("--rate", rate, _RATES)
    _check_range("--duration", args.duration, _DURATIONS)
    bundle = load_bundle(args.model)
    out = args.out.resolve()
    try:
        drive = replay_drive(clip, bundle, rate, args.duration, out / ".live")
        found = summarize(drive, clip, bundle, out)
        shutil.rmtree(drive.work)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(f"\n{found.text}")
    return 0 if found.is_sound else _UNSOUND


def _check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ConfigError(f"{name} {value:g}: expected a number from {limits[0]:g} to {limits[1]:g}")
