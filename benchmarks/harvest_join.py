"""Time and memory of joining many bags' records: made-up records with embeddings of the size that m2a-edge gives.

python -m benchmarks.harvest_join --out DIR [--bags 200] [--objects 500]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.neighbours import vectors
from m2a_core.harvest.joining import join
from m2a_core.harvest.records import write_records
from test.harvest.harvests import record

DIMENSIONS = 1056


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bags", type=int, default=200)
    parser.add_argument("--objects", type=int, default=500, help="of a bag (default: %(default)d)")
    args = parser.parse_args()
    (args.out / "bags").mkdir(parents=True)
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(32, DIMENSIONS)).astype(np.float32)
    along = vectors(args.bags * args.objects, 32)
    numbers = rng.permutation(len(along))
    files = []
    for bag in range(args.bags):
        chosen = np.sort(numbers[bag * args.objects : (bag + 1) * args.objects]).tolist()
        made = []
        for number in chosen:
            embedding = along[number] @ axes
            made.append(record(number, bag=f"bag_{bag}", embedding=embedding / np.linalg.norm(embedding)))
        files.append(args.out / "bags" / f"{bag:05d}.parquet")
        write_records(files[-1], made)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    joined = join(args.out, files)
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = (args.out / "objects.parquet").stat().st_size
    print(f"{joined.records} records, {joined.clusters} clusters, {joined.unclustered} in none: {seconds:.0f} s of CPU")
    print(f"largest memory {after / 1024:.0f} MiB, {before / 1024:.0f} before; objects.parquet {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
