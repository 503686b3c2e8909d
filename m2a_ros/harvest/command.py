"""Collect the unknown objects of replayed bags, and show them in a gallery, similar ones together.

SOURCE is a folder of `m2a replay --out`, or a bag, which is then replayed into DIR/replay first (mode offline, the
node's defaults; run `m2a replay` yourself for a parameter file or other topics). Each unknown object that replay
tracked becomes a record: best pictures, mask, score, place, time, and an embedding of the network's features of the
object and its colours. A track that continues where another one ended and looks the same counts as the same object.
Records that look alike form clusters, ranked by how often, how near and how certainly their objects were seen.

DIR then holds
  gallery.html      one page: look through the clusters, name them, mark false alarms, save choices.json
  objects.parquet   one row for each object; docs/harvest.md says what is in it
  crops/            pictures (RGB PNG), masks and class ids
  harvest.json      model, settings and counts
Call it again after it was stopped and it continues; call it with more bags and it harvests only the new ones. The exit
code is 0 if all bags were harvested, 1 if one was not, 2 on an error.

For example:
  m2a harvest results --out harvest
  m2a harvest drives/*.mcap --workers 4 --threads 1 --blur people,plates --out harvest
  m2a harvest serve harvest
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.errors import ConfigError, DataError
from m2a_ros.replay.executors import add_executor_options

HELP = "collect unknown objects of bags, and show them in a gallery to name them"
EXTRA = "harvest"

_MIN_CLUSTER = 4
_INCOMPLETE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder of a replay; or a bag: path, URL, pattern")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made if missing")
    parser.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help=f"model to replay bags with (default: {DEFAULT_MODEL}); for a finished replay, where its model is now",
    )
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="FILE.onnx",
        help="embed pictures with this image encoder: float32 [1, 3, H, W], normalised as for ImageNet, to a vector",
    )
    parser.add_argument(
        "--min-cluster",
        type=int,
        default=_MIN_CLUSTER,
        metavar="N",
        help="smallest number of objects in a cluster (default: %(default)d)",
    )
    parser.add_argument(
        "--blur",
        default="",
        metavar="WHAT,...",
        help="mask in the gallery: people, plates (whole vehicles), or classes of the model; pictures in DIR/crops, "
        "which training uses, stay as they are",
    )
    parser.add_argument(
        "--keep-frames",
        action="store_true",
        help="also keep the whole frame of each object's best picture, for labelling",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the network (default: all cores)")
    add_executor_options(parser)


def run(args: argparse.Namespace) -> int:
    """Harvest and sum up."""
    for name in ("workers", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ConfigError(f"--{name} {getattr(args, name)}: expected at least 1")
    if args.min_cluster < 2:
        raise ConfigError(f"--min-cluster {args.min_cluster}: expected at least 2")
    for package in ("pyarrow", "sklearn"):
        import_module(package)  # Their absence is said before bags are replayed.

    from m2a_ros.harvest.session import Request, harvest
    from m2a_ros.harvest.sources import Workers

    blur = tuple(word.strip() for word in args.blur.split(",") if word.strip())
    workers = Workers(args.executor, args.workers, args.threads)
    request = Request(
        tuple(args.sources), args.out, args.model, args.encoder, args.keep_frames, blur, args.min_cluster, workers
    )
    try:
        outcome = harvest(request)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot write there ({error.strerror or error})") from error
    print(outcome.text)
    return _INCOMPLETE if outcome.failed else 0
