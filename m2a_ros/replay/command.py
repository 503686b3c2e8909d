"""Replay ROS 2 bags through the model, every frame, without ROS, and say what came out of it.

Mode offline: each image goes through the node's own conversions and model, in the bag's order; nothing is dropped, and
two runs on one machine give the same hashes. BAG is a bag folder or a storage file, MCAP or SQLite, raw or compressed
images, any number of cameras.

DIR then holds
  frames.jsonl       one object per evaluated frame: stamp_ns, frame_id, camera, hash (SHA-256 over the published
                     arrays), latencies_ms by stage, unknown_instances (count)
  problems.jsonl     one object per image that could not be evaluated, with its reason
  summary.json       versions, hashes of bags and model, counts, latencies, and with --gt the pixel metrics
  BAG/bag            output bag (MCAP): the node's maps, overlay and label_info under /m2a
  BAG/overlay_CAMERA.mp4
A killed replay goes on where it stopped when called again with the same arguments. The exit code is 0 if everything was
evaluated, 1 if an image or a ground-truth mask was not (see summary.json), 2 on an error such as a bag cut short.

For example:
  m2a replay drive_0.mcap --mode offline --out results
  m2a replay drives/* --topic /cam/front/image_raw=front --gt truth --out results
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2a_core.bundle import DEFAULT_MODEL
from m2a_core.errors import DataError
from m2a_core.runtime.factory import BACKENDS

HELP = "replay ROS 2 bags through the model, every frame, reproducibly"

_INCOMPLETE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="bag folder, .mcap or .db3 file")
    parser.add_argument("--mode", choices=("offline",), default="offline", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made if missing")
    parser.add_argument(
        "--topic", action="append", default=[], metavar="TOPIC[=CAMERA]",
        help="image topic to evaluate, and what to call its camera; may be repeated (default: all with camera images, "
        "named after the topic)",
    )  # fmt: skip
    parser.add_argument(
        "--gt", type=Path, metavar="DIR",
        help="ground truth: DIR/STAMP_NS.png, or DIR/CAMERA/STAMP_NS.png for several cameras (0 known, 1 anomaly, "
        "255 void)",
    )  # fmt: skip
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME_OR_PATH",
        help="name of a bundle, its directory or its .onnx file (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="default: %(default)s")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the network (default: all cores)")


def run(args: argparse.Namespace) -> int:
    """Replay, sum up and print."""
    from m2a_ros.replay.session import Request, replay

    request = Request(
        tuple(args.bags), args.mode, args.out, tuple(args.topic), args.gt, args.model, args.backend, args.threads
    )
    try:
        outcome = replay(request)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(outcome.text)
    return 0 if outcome.complete else _INCOMPLETE
