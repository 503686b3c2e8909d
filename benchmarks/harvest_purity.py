"""How pure a harvest's clusters are, on bags of ``benchmarks/harvest_bags.py`` whose objects are known.

A record is of the kind whose objects cover most of its mask in its best frame, and a false alarm where they cover less
than half of it. Reported: the share of object records in clusters of which one kind makes up at least 80 %, duplicates
included, and what each cluster holds.

python -m benchmarks.harvest_purity --harvest DIR --bags DIR
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco

from m2a_core.harvest.clustering import fit
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import NO_CLUSTER, ObjectRecord

PURE = 0.8
FALSE_ALARM = "false alarm"
PART = 0.85
"""Share of the objects in a random part."""
_COVERED = 0.5
_ELSE = 0.1
"""Share of a mask that something else may cover in a picture that passes for one thing alone."""


@dataclass(frozen=True)
class Purity:
    """What the clusters hold.

    Attributes:
        share: of the object records, those in clusters of purity ``PURE`` and more.
        objects: records of objects.
        false_alarms: records of none.
        clusters: what each cluster holds; ``NO_CLUSTER`` for the rest.
    """

    share: float
    objects: int
    false_alarms: int
    clusters: dict[int, Counter[str]]

    @property
    def count(self) -> int:
        """Clusters."""
        return len(self.clusters.keys() - {NO_CLUSTER})

    @property
    def size(self) -> float:
        """Records of a cluster, on average."""
        inside = sum(kinds.total() for cluster, kinds in self.clusters.items() if cluster != NO_CLUSTER)
        return inside / max(1, self.count)

    @property
    def left(self) -> float:
        """Share of the object records that are in no cluster."""
        rest = self.clusters.get(NO_CLUSTER, Counter())
        return (rest.total() - rest[FALSE_ALARM]) / max(1, self.objects)


def kind_of(record: ObjectRecord, bags: Path) -> str:
    """What a record shows."""
    kind, share, _ = shown_by(record, bags)
    return kind if share >= _COVERED else FALSE_ALARM


def belongs(record: ObjectRecord, bags: Path, kind: str) -> bool:
    """Whether a picture of a record would pass for one of a kind, and of nothing else besides."""
    most, share, others = shown_by(record, bags)
    if kind == FALSE_ALARM:
        return share + others < _ELSE
    return most == kind and share >= _COVERED and others < _ELSE


def shown_by(record: ObjectRecord, bags: Path) -> tuple[str, float, float]:
    """The kind that covers most of a record's mask in its best frame, its share of it, and the share of other kinds."""
    folder = bags / record.bag
    ids = cv2.imread(str(folder / "truth" / f"{record.best_stamp_ns}.png"), cv2.IMREAD_UNCHANGED)
    size = [record.image_height, record.image_width]
    mask = coco.decode({"size": size, "counts": record.full_mask.encode()}) > 0
    names = json.loads((folder / "kinds.json").read_text())
    counts = Counter(names[str(number)] for number in ids[mask & (ids > 0)].tolist())
    kind, pixels = counts.most_common(1)[0] if counts else ("", 0)
    return kind, pixels / np.count_nonzero(mask), (counts.total() - pixels) / np.count_nonzero(mask)


def purity(records: list[tuple[int, str]]) -> Purity:
    """Purity of records, each a cluster and a kind."""
    clusters: dict[int, Counter[str]] = {}
    for cluster, kind in records:
        clusters.setdefault(cluster, Counter())[kind] += 1
    objects = pure = 0
    for cluster, kinds in clusters.items():
        of_objects = sum(count for kind, count in kinds.items() if kind != FALSE_ALARM)
        objects += of_objects
        if cluster != NO_CLUSTER and max(kinds.values()) >= PURE * sum(kinds.values()):
            pure += of_objects
    return Purity(pure / max(1, objects), objects, len(records) - objects, clusters)


def over_parts(records: Sequence[ObjectRecord], kinds: Mapping[str, str], parts: int) -> Iterator[Purity]:
    """Purity of random parts of the objects, each clustered by itself.

    Args:
        records: of a harvest.
        kinds: id -> what it shows.
        parts: how many.
    """
    rng = np.random.default_rng(0)
    own = sorted((record for record in records if record.duplicate_of is None), key=lambda record: record.id)
    for _ in range(parts):
        part = [own[n] for n in np.sort(rng.choice(len(own), round(PART * len(own)), replace=False))]
        fitted = fit(np.stack([record.embedding for record in part]), blocks=part[0].blocks)
        clusters = dict(zip((record.id for record in part), fitted.clusters.tolist(), strict=True))
        first = ((record, record.duplicate_of or record.id) for record in records)
        yield purity([(clusters[of], kinds[record.id]) for record, of in first if of in clusters])


def report(found: Purity) -> str:
    """What each cluster holds, and the share, in words."""
    lines = []
    for cluster, kinds in sorted(found.clusters.items()):
        name = "no cluster" if cluster == NO_CLUSTER else f"cluster {cluster}"
        lines.append(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    lines.append(f"{found.objects} object tracks, {found.false_alarms} false alarms")
    lines.append(
        f"{found.count} clusters of {found.size:.1f} tracks on average; {100 * found.left:.1f} % of the object tracks "
        "are in none"
    )
    lines.append(f"{100 * found.share:.1f} % of the object tracks are in clusters of purity {PURE} and more")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harvest", type=Path, required=True)
    parser.add_argument("--bags", type=Path, required=True)
    parser.add_argument("--parts", type=int, default=20, help="random parts (default: %(default)d)")
    args = parser.parse_args()
    records = list(Harvest.open(args.harvest).records())
    kinds = {record.id: kind_of(record, args.bags) for record in records}
    print(report(purity([(record.cluster, kinds[record.id]) for record in records])))
    if args.parts:
        shares = [100 * found.share for found in over_parts(records, kinds, args.parts)]
        low, high = np.percentile(shares, [10, 90])
        print(
            f"over {args.parts} random parts of {100 * PART:.0f} %: {np.mean(shares):.0f} % on average, "
            f"{low:.0f} to {high:.0f} % in eight of ten"
        )


if __name__ == "__main__":
    main()
