"""The records of many bags as one harvest: the same whatever the order of the bags and whoever made their records."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.harvest.clustering import MAX_FITTED, MIN_CLUSTER, Fitted, Worth, fit, ranked
from m2a_core.harvest.records import (
    NO_CLUSTER,
    OBJECTS,
    ObjectRecord,
    harvest_hash,
    read_columns,
    read_records,
    write_records,
)

ROUNDS = 4
"""So often are objects clustered, the first time included, where they are more than are fitted at once."""

OPEN_FILES = 128
"""Files that are merged at a time: a process may not open ten thousand."""


@dataclass(frozen=True)
class Joined:
    """What was joined.

    Attributes:
        hash: see ``harvest_hash``.
        records: how many there are.
        duplicates: how many of them show an object of another record.
        clusters: how many clusters there are.
        unclustered: records of their own that are in none.
    """

    hash: str
    records: int
    duplicates: int
    clusters: int
    unclustered: int


def join(folder: Path, files: Sequence[Path], min_cluster: int = MIN_CLUSTER, max_fitted: int = MAX_FITTED) -> Joined:
    """Join the records of bags into ``objects.parquet``, with clusters.

    In memory are a row group of every file that is being merged, the vectors of ``max_fitted`` records, and two numbers
    for each record.

    Args:
        folder: the harvest's.
        files: records of one bag each, by id.
        min_cluster: objects that make a cluster.
        max_fitted: so many at once, see ``clustering``.

    Raises:
        DataError: a file is damaged.
        OSError: the disk is full.
    """
    work = folder / ".join"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        merged = work / OBJECTS
        write_records(merged, _merged(sorted(files), work))
        found = _clusters(merged, min_cluster, max_fitted)
        count = write_records(folder / OBJECTS, _clustered(read_records(merged), found))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    digest = harvest_hash((identity, cluster) for identity, (cluster, _, _) in found.items())
    own = [cluster for cluster, _, duplicate in found.values() if not duplicate]
    return Joined(digest, count, count - len(own), len(set(own) - {NO_CLUSTER}), own.count(NO_CLUSTER))


def _merged(files: Sequence[Path], work: Path) -> Iterator[ObjectRecord]:
    """Records of all files by id; of equal ids, which one bag has that is given twice, the first."""
    level = 0
    while len(files) > OPEN_FILES:
        level += 1
        groups = [files[start : start + OPEN_FILES] for start in range(0, len(files), OPEN_FILES)]
        files = [work / f"{level}_{number}.parquet" for number in range(len(groups))]
        for file, group in zip(files, groups, strict=True):
            write_records(file, _in_order(group))
    return _in_order(files)


def _in_order(files: Iterable[Path]) -> Iterator[ObjectRecord]:
    records = heapq.merge(*map(read_records, files), key=lambda record: (record.id, record.bag))
    for _, same in groupby(records, key=lambda record: record.id):
        yield next(same)


def _clusters(path: Path, min_cluster: int, max_fitted: int) -> dict[str, tuple[int, float, str | None]]:
    """Id of every record -> cluster, probability, and the record that it is a duplicate of."""
    found = _fitted(path, min_cluster, max_fitted)
    facts: dict[int, list[tuple[float, float, float | None]]] = {}
    for _, _, rows in _embeddings(path):
        for row in rows:
            cluster, probability = found[row["id"]]
            if cluster != NO_CLUSTER:
                facts.setdefault(cluster, []).append((row["score_mean"], probability, row["distance_min_m"]))
    numbers = ranked({cluster: _worth(of) for cluster, of in facts.items()})
    numbers[NO_CLUSTER] = NO_CLUSTER
    every: dict[str, tuple[int, float, str | None]] = {
        identity: (numbers[cluster], probability, None) for identity, (cluster, probability) in found.items()
    }
    for listed in read_columns(path, ("id", "duplicate_of")):
        for row in listed:
            if row["duplicate_of"] is not None:
                cluster, probability, _ = every.get(row["duplicate_of"], (NO_CLUSTER, 0.0, None))
                every[row["id"]] = (cluster, probability, row["duplicate_of"])
    return every


def _fitted(path: Path, min_cluster: int, max_fitted: int) -> dict[str, tuple[int, float]]:
    """Id of every record that is no duplicate -> cluster and probability.

    Of more records than are fitted at once, those in no cluster are fitted again, ``ROUNDS`` times in all: a rare kind
    has too few among the first. What is left also holds all that lies alone, so such clusters must be dense.
    """
    found = {identity: (NO_CLUSTER, 0.0) for ids, _, _ in _embeddings(path) for identity in ids}
    first: Fitted | None = None
    clusters = 0
    for _ in range(ROUNDS):
        chosen, vectors, blocks = _left(path, found, max_fitted)
        if len(chosen) < 2 * min_cluster:
            break
        fitted = fit(vectors, min_cluster, blocks)
        first = first or fitted
        dense = set(range(int(fitted.clusters.max()) + 1)) - (
            set() if fitted is first else first.loose(vectors, fitted)
        )
        if not dense:
            break
        found.update(_numbered(chosen, fitted.clusters, fitted.probabilities, dense, clusters))
        if len(found) <= max_fitted:
            break
        for ids, batch, _ in _embeddings(path):
            rest = [n for n, identity in enumerate(ids) if found[identity][0] == NO_CLUSTER]
            found.update(_numbered([ids[n] for n in rest], *fitted.assign(batch[rest]), dense, clusters))
        clusters += int(fitted.clusters.max()) + 1
    return found


def _left(path: Path, found: dict[str, tuple[int, float]], most: int) -> tuple[list[str], np.ndarray, Sequence[int]]:
    """Ids and embeddings of the first records in no cluster, and the sizes of embeddings' blocks."""
    chosen: list[str] = []
    vectors = [np.zeros((0, 1), np.float32)]
    blocks: Sequence[int] = ()
    for ids, batch, rows in _embeddings(path):
        blocks = rows[0]["blocks"]
        left = [n for n, identity in enumerate(ids) if found[identity][0] == NO_CLUSTER][: most - len(chosen)]
        if left:
            chosen += [ids[n] for n in left]
            vectors.append(batch[left])
        if len(chosen) >= most:
            break
    return chosen, np.concatenate(vectors[1:] or vectors), blocks


def _numbered(
    ids: Sequence[str], clusters: np.ndarray, probabilities: np.ndarray, of: Container[int], first: int
) -> dict[str, tuple[int, float]]:
    """Of the ids in one of the clusters ``of``: its number, from ``first`` on, and the probability."""
    return {
        identity: (first + cluster, probability)
        for identity, cluster, probability in zip(ids, clusters.tolist(), probabilities.tolist(), strict=True)
        if cluster in of
    }


def _embeddings(path: Path) -> Iterator[tuple[list[str], np.ndarray, list[dict[str, Any]]]]:
    """Ids, embeddings float32 [N, D] and figures of the records that are no duplicates, batch by batch."""
    for batch in read_columns(path, ("id", "embedding", "blocks", "duplicate_of", "score_mean", "distance_min_m")):
        rows = [row for row in batch if row["duplicate_of"] is None]
        if rows:
            yield [row["id"] for row in rows], np.stack([row["embedding"] for row in rows]), rows


def _worth(of: list[tuple[float, float, float | None]]) -> Worth:
    scores, probabilities, distances = zip(*of, strict=True)
    return Worth(
        len(of),
        float(np.mean(scores)),
        float(np.mean(probabilities)),
        min((d for d in distances if d is not None), default=None),
    )


def _clustered(
    records: Iterator[ObjectRecord], found: dict[str, tuple[int, float, str | None]]
) -> Iterator[ObjectRecord]:
    for record in records:
        cluster, probability, _ = found[record.id]
        yield replace(record, cluster=cluster, cluster_probability=probability)
