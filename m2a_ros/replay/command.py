"""Replay ROS 2 bags through the model or through the real node, and report what it found.

BAG is a bag folder or a storage file, MCAP or SQLite, with raw or compressed images of any number of cameras. Name it
by path, by pattern, or by a URL such as s3://bucket/drives/*.mcap, which is read in place (extra `cloud`). Without
--params-file, images are evaluated whole and as recorded, with the node's defaults.

Modes:
  offline    every image through the node's own conversions and model, without ROS; nothing is dropped, and two runs on
             one machine give the same hashes
  lockstep   every image through the real node over DDS, one after the other; gives the hashes of offline
  realtime   the bag at its own pace (times --rate) with /clock: losses by reason, latency, age, memory of the node
  peak       the highest rate at which the node loses less than 5 %

DIR then holds
  report.html        the report, in one file
  frames.jsonl       one object per evaluated frame: stamp_ns, frame_id, camera, hash (SHA-256 over the published
                     arrays), latencies_ms by stage, unknown_instances (count)
  problems.jsonl     one object per image that could not be evaluated, with its reason
  summary.json       versions, hashes of bags and model, counts, latencies, and with --gt the metrics
  BAG/bag            output bag (MCAP): the node's maps, overlay and label_info under /m2a
  BAG/overlay_CAMERA.webm   the overlays as a film for browsers

Call it again with the same arguments after it was stopped, and it continues. Several bags can be evaluated by several
processes (--workers) or a Ray cluster (--executor ray). The exit code is 0 if everything was evaluated, 1 if an image
or a ground-truth mask was not (see summary.json), 2 on an error such as a bag cut short.

`m2a replay compare A_DIR B_DIR --out DIR` compares two finished replays with ground truth.

For example:
  m2a replay drive_0.mcap --mode offline --out results
  m2a replay 's3://drives/2026-11/*.mcap' --executor ray --out /shared/results
  m2a replay drives/* --topic /cam/front/image_raw=front --gt truth --out results
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.errors import ConfigError, DataError
from m2a_core.runtime.factory import BACKENDS
from m2a_ros.replay.executors import EXECUTORS, add_executor_options
from m2a_ros.replay.mode_settings import ModeSettings
from m2a_ros.review import options

HELP = "replay ROS 2 bags through the model, every frame, reproducibly"

MODES = ("offline", "lockstep", "realtime", "peak")
_INCOMPLETE = 1
_MIN_TRIAL = 21


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bags", nargs="+", metavar="BAG", help="bag folder, .mcap or .db3 file; path, URL or pattern")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; created if missing")
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="TOPIC[=CAMERA]",
        help="image topic to evaluate, and what to call its camera; may be repeated (default: all with camera images, "
        "named after the topic)",
    )
    parser.add_argument(
        "--params-file",
        type=Path,
        metavar="FILE",
        help="the node's parameter file: crop, rectify, thresholds, tracking, mounting and cameras hold in every mode, "
        "and the bag's camera_info is used",
    )
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help=f"name of a bundle, its directory or its .onnx file (default: the parameter file's, else {DEFAULT_MODEL})",
    )
    parser.add_argument("--backend", choices=BACKENDS, help=f"default: the parameter file's, else {BACKENDS[0]}")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="lockstep: an image without an answer for this long counts as lost (default: %(default)g)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=1.0,
        metavar="R",
        help="realtime: pace, 1 for the bag's own, 2 for twice as fast (default: %(default)g)",
    )
    parser.add_argument(
        "--trial-frames", type=int, default=60, metavar="N", help="peak: images in a trial (default: %(default)d)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="peak: how often to search (default: %(default)d)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the network (default: all cores)")
    add_executor_options(parser, "offline: ")
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Replay, sum up and print."""
    from m2a_ros.bag.locations import locate
    from m2a_ros.replay.session import Request, replay

    if args.mode != "offline":
        import_module("rclpy")  # Its absence is said here, not in the log of a child process.
    request = Request(
        locate(args.bags),
        args.mode,
        args.out,
        tuple(args.topic),
        options.request_of(args),
        _parameters(args),
        args.params_file,
        _settings(args),
        args.executor,
        _workers(args),
    )
    try:
        outcome = replay(request)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(outcome.text)
    return 0 if outcome.complete else _INCOMPLETE


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The node's parameters that are not at their defaults: of the file, then of the command line."""
    from m2a_ros.parameters.file import read_parameters

    values = {} if args.params_file is None else read_parameters(args.params_file)
    given = {"model": args.model, "backend": args.backend, "threads": args.threads}
    return {**values, **{name: value for name, value in given.items() if value is not None}}


def _settings(args: argparse.Namespace) -> ModeSettings:
    for name, value in (("--timeout", args.timeout), ("--rate", args.rate), ("--repeats", args.repeats)):
        if not value > 0:
            raise ConfigError(f"{name} {value:g}: expected a number above 0")
    if args.mode == "peak" and (args.gt or args.gt_topic):
        raise ConfigError(
            "--mode peak gives images new stamps and keeps no maps: there is nothing to compare ground truth "
            "with; leave out --gt, or replay in another mode too"
        )
    if args.trial_frames < _MIN_TRIAL:
        # With fewer, one lost image would be more than the loss that is looked for.
        raise ConfigError(f"--trial-frames {args.trial_frames}: expected at least {_MIN_TRIAL}")
    return ModeSettings(args.timeout, args.rate, args.trial_frames, args.repeats)


def _workers(args: argparse.Namespace) -> int | None:
    if args.workers is not None and args.workers < 1:
        raise ConfigError(f"--workers {args.workers}: expected at least 1")
    if args.mode != MODES[0] and (args.executor != EXECUTORS[0] or (args.workers or 1) > 1):
        raise ConfigError(
            f"--mode {args.mode} evaluates one bag after another: nodes side by side would disturb "
            "what is measured; leave out --executor and --workers"
        )
    workers: int | None = args.workers
    return workers
