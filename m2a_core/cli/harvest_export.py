"""Turn what was named in a harvest's gallery into data to train on.

OUT receives, as far as there is any of it,
  outliers/          cut-outs with alpha of what stays unknown, for data.outliers.more_roots of `m2a train`
  hard_negatives/    cut-outs of false alarms, for data.hard_negatives.roots: pasted, and labelled as known
  classes/           what is to become a known class: images and a COCO JSON with run lengths, to correct and to
                     complete in CVAT or FiftyOne
  README.md          a dataset card: counts, bags, keys for the configuration, what to be careful with
  export.json        the counts
It appears whole or not at all; an earlier export there is replaced. Near-duplicates are left out.

examples:
  m2a harvest export harvest --choices choices.json --out data/harvested
  m2a train --config config/training/harvested.yaml --data-root data --out runs/harvested
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "turn named clusters into data to train on"
EXTRA = "harvest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("harvest", type=Path, metavar="DIR", help="folder that m2a harvest wrote")
    parser.add_argument(
        "--choices", type=Path, metavar="FILE", help="as the gallery saves it (default: choices.json in DIR)"
    )
    parser.add_argument(
        "--blur",
        default="",
        metavar="WHAT,...",
        help="mask in OUT/classes: people, plates (whole vehicles), or classes of the model. Cut-outs, which "
        "training uses, stay as they are",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="where to write")


def run(args: argparse.Namespace) -> int:
    """Export; 0 when all is written."""
    from m2a_core.harvest.choices import CHOICES, read_choices
    from m2a_core.harvest.export import described, export_harvest
    from m2a_core.harvest.folder import Harvest

    harvest = Harvest.open(args.harvest)
    blur = tuple(word.strip() for word in args.blur.split(",") if word.strip())
    choices = read_choices(args.choices or args.harvest / CHOICES, harvest)
    named = export_harvest(harvest, choices, args.out, blur)
    print("\n".join(described(named)))
    print(f"{args.out / 'README.md'} says how to train with it")
    return 0
