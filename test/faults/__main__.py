"""Try what breaks perception on a vehicle, by the thousand, and count what it does to m2a.

Every case ends in an answer to the right frame or in a refusal that says why. A crash, a hang, an error of another kind
or an answer to another frame is a finding. The same seed gives the same cases.

example:
  python -m test.faults --only messages files --jobs 2
  python -m test.faults --scale 0.05 --seed 7
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace

from test.faults.campaign import kinds, promises, run, table
from test.faults.parts import PARTS


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m test.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [part.name for part in PARTS]
    parser.add_argument("--seed", type=int, default=23, help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (default: all cores)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the cases (default: all)")
    args = parser.parse_args()
    parts = [replace(p, count=max(1, round(args.scale * p.count))) for p in PARTS if p.name in args.only]
    start = time.monotonic()
    tallies = run(parts, args.seed, args.jobs)
    found = [finding for tally in tallies for finding in tally.findings]
    seconds, broken = promises(tallies)
    print("\n\n".join(filter(None, [table(tallies), seconds])))
    for finding in [*found, *broken]:
        print(f"found: {finding}")
    missing = sum(tally.part.count - tally.tried for tally in tallies)
    if missing:
        print(f"{missing} cases were not run, for their part had too many findings")
    if skipped := sum(tally.skipped for tally in tallies):
        print(f"{skipped} cases were skipped, for this machine cannot run them (see the table)")
    print(", ".join(f"{count} {kind}" for kind, count in kinds(found).items()), f"in {time.monotonic() - start:.0f} s")
    failed = len(found) + len(broken) + missing
    print(f"{sum(tally.survived for tally in tallies)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
