"""Check your own labelled images before you train on them, and split them. Guide: docs/own_data.md.

  m2a data check ROOT               reads every file: counts per class, eight drawn samples, every problem by name
  m2a data split ROOT --out DIR     splits frames into train and val by sequence, never by frame

ROOT holds classes.yaml, images/{train,val}/NAME.* and masks/{train,val}/NAME.png:

  classes:
    - {name: road, id: 7, color: [128, 64, 128], thing: false}
    - {name: car, id: 26, color: [0, 0, 142], thing: true}
  void: 255

examples:
  m2a data check my_data
  m2a data split my_data --val 0.2 --out my_data_split
  m2a train --config config/training/own.yaml --data-root my_data --out runs/own
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from m2a_core.cli.actions import add_action
from m2a_core.errors import ConfigError

HELP = "check and split your own data before you train on it"

_EXIT_PROBLEMS = 2

_SPLIT = """\
Split the frames of ROOT into train and val (and test) by sequence, never by frame: frames of one drive are alike, and a
network measured on neighbours of what it was trained on is flattered. Splits that ROOT has are put together first.

DIR becomes a root of the folder format, whatever ROOT's is: images become hard links where possible, masks and
instances PNG.

examples:
  m2a data split my_data --out my_data_split
  m2a data split my_data --val 0.15 --test 0.15 --sequence '^(drive[0-9]+)_' --out my_data_split
"""

_CHECK = """\
Read every file of ROOT: frames, sizes, sequences and pixels per class; eight samples drawn as a picture; every problem
by name. Ends with code 2 if there is a problem, else with 0; notes are not problems.

examples:
  m2a data check my_data
  m2a data check coco/ --format coco --classes my_classes.yaml --picture samples.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add_action(actions, "check", "count, draw and find what is wrong", _CHECK)
    _add_source(check)
    check.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="drawn samples (default: ROOT/check.jpg, or check.jpg here where ROOT cannot be written)",
    )
    split = add_action(actions, "split", "split frames by sequence, never by frame", _SPLIT)
    _add_source(split)
    split.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new root, in the folder format")
    split.add_argument("--val", type=float, default=0.2, metavar="SHARE", help="of the frames (default: %(default)s)")
    split.add_argument("--test", type=float, default=0.0, metavar="SHARE", help="of the frames (default: none)")
    split.add_argument(
        "--sequence",
        default="",
        metavar="REGEX",
        help="which part of a frame's name is its sequence: the first group (default: its folder, else the name "
        "without the number at its end)",
    )
    split.add_argument(
        "--seed", type=int, default=1, metavar="N", help="random seed of the split (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; returns its exit code."""
    return _ACTIONS[args.action](args)


def _add_source(parser: argparse.ArgumentParser) -> None:
    from m2a_core.data.own.opening import CLASSES, FORMATS

    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the data")
    parser.add_argument("--format", choices=tuple(FORMATS), default="folder", help="default: %(default)s")
    parser.add_argument("--classes", default=CLASSES, metavar="FILE", help="in ROOT, or a path (default: %(default)s)")


def _check(args: argparse.Namespace) -> int:
    """Read every file of ROOT: counts per class, eight drawn samples as a picture, and every problem by name."""
    from m2a_core.data.own.checking import check_own
    from m2a_core.data.own.drawing import choose_samples, write_samples
    from m2a_core.data.own.opening import open_own
    from m2a_core.reporting.page import count

    dataset = open_own(args.root, args.format, args.classes, Path())
    labels = dataset.file.labels
    print(f"{args.root}: format {args.format}, {labels.num_classes} classes of {dataset.file.path}")
    report = check_own(dataset)
    for name, split in report.splits.items():
        print("\n".join(split.lines(name, labels)))
    for note in report.notes:
        print(f"note: {note}")
    samples = choose_samples(report)
    if samples:
        # Data may lie where nothing can be written.
        beside = os.access(args.root, os.W_OK)
        picture = args.picture or (args.root if beside else Path()) / "check.jpg"
        write_samples(samples, labels, picture)
        print(f"{picture}: {len(samples)} samples")
    for problem in report.problems:
        print(f"m2a: error: {problem}", file=sys.stderr)
    print(count(len(report.problems), "problem") if report.problems else "no problems")
    return _EXIT_PROBLEMS if report.problems else 0


def _split(args: argparse.Namespace) -> int:
    from m2a_core.data.own.opening import open_own
    from m2a_core.data.own.splitting import assign, sequences, write_split

    shares = {name: share for name, share in (("val", args.val), ("test", args.test)) if share}
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1 or args.seed < 0:
        raise ConfigError(f"--val {args.val} --test {args.test}: expected shares from 0 to 1, in total less than 1")
    dataset = open_own(args.root, args.format, args.classes, Path())
    dataset.require_whole()
    groups = sequences(dataset.listing.frames, args.sequence)
    splits = assign(groups, shares, args.seed)
    write_split(dataset, groups, splits, args.out)
    for note in dataset.listing.notes:
        print(f"note: {note}")
    for split in ("train", *shares):
        names = [name for name in groups if splits[name] == split]
        count = sum(len(groups[name]) for name in names)
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        print(f"{split}: {count} frames of {len(names)} sequences: {shown}")
    print(f"{args.out}: look at it with `m2a data check {args.out}`")
    return 0


_ACTIONS = {"check": _check, "split": _split}
