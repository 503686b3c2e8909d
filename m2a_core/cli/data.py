"""Look at data of your own before a network does; guide: docs/own_data.md.

  m2a data check ROOT      reads every file: counts per class, eight drawn samples as a picture, every problem by name

ROOT holds classes.yaml, images/{train,val}/NAME.* and masks/{train,val}/NAME.png:

  classes:
    - {name: road, id: 7, color: [128, 64, 128], thing: false}
    - {name: car, id: 26, color: [0, 0, 142], thing: true}
  void: 255

examples:
  m2a data check my_data
  m2a train --config config/training/own.yaml --data-root my_data --out runs/own
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

HELP = "check and split data of your own, before training on it"

_EXIT_PROBLEMS = 2

_CHECK = """\
Read every file of ROOT: frames, sizes, sequences and pixels per class; eight samples drawn as a picture; every problem
by name. Ends with code 0 where there is no problem (notes are none), else with 2.

examples:
  m2a data check my_data
  m2a data check coco/ --format coco --classes my_classes.yaml --picture samples.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = _action(actions, "check", "count, draw and find what is wrong", _CHECK)
    _add_source(check)
    check.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="drawn samples (default: ROOT/check.jpg, or check.jpg here where ROOT cannot be written)",
    )


def _action(actions: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=text, formatter_class=raw)
    return parser


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
    print(f"{len(report.problems)} problems" if report.problems else "no problems")
    return _EXIT_PROBLEMS if report.problems else 0


_ACTIONS = {"check": _check}
