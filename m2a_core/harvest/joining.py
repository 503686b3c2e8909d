"""The records of many bags as one harvest: the same whatever the order of the bags and whoever made their records."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from m2a_core.harvest.clustering import MAX_FITTED, MIN_CLUSTER, Fitted, Neighbours, Worth, fit, ranked
from m2a_core.harvest.records import (
    NO_CLUSTER,
    OBJECTS,
    ObjectRecord,
    harvest_hash,
    read_columns,
    read_records,
    write_records,
)

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
        max_fitted: see ``clustering``.

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
    vectors: list[np.ndarray] = []
    blocks: Sequence[int] = ()
    for _, batch, rows in _embeddings(path):
        blocks = rows[0]["blocks"]
        vectors.append(batch[: max_fitted - sum(map(len, vectors))])
        if sum(map(len, vectors)) >= max_fitted:
            break
    fitted = fit(np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32), min_cluster, blocks)
    found: dict[str, tuple[int, float, str | None]] = {}
    facts: dict[int, list[tuple[float, float, float | None]]] = {}
    start, neighbours = 0, Neighbours(fitted)
    for ids, batch, rows in _embeddings(path):
        clusters, probabilities = _of_batch(fitted, neighbours, start, batch)
        start += len(batch)
        for identity, cluster, probability, row in zip(
            ids, clusters.tolist(), probabilities.tolist(), rows, strict=True
        ):
            found[identity] = (cluster, probability, None)
            if cluster != NO_CLUSTER:
                facts.setdefault(cluster, []).append((row["score_mean"], probability, row["distance_min_m"]))
    numbers = ranked({cluster: _worth(of) for cluster, of in facts.items()})
    numbers[NO_CLUSTER] = NO_CLUSTER
    found = {identity: (numbers[cluster], probability, None) for identity, (cluster, probability, _) in found.items()}
    for listed in read_columns(path, ("id", "duplicate_of")):
        for row in listed:
            if row["duplicate_of"] is not None:
                cluster, probability, _ = found.get(row["duplicate_of"], (NO_CLUSTER, 0.0, None))
                found[row["id"]] = (cluster, probability, row["duplicate_of"])
    return found


def _embeddings(path: Path) -> Iterator[tuple[list[str], np.ndarray, list[dict[str, Any]]]]:
    """Ids, embeddings float32 [N, D] and figures of the records that are no duplicates, batch by batch."""
    for batch in read_columns(path, ("id", "embedding", "blocks", "duplicate_of", "score_mean", "distance_min_m")):
        rows = [row for row in batch if row["duplicate_of"] is None]
        if rows:
            yield [row["id"] for row in rows], np.stack([row["embedding"] for row in rows]), rows


def _of_batch(fitted: Fitted, neighbours: Neighbours, start: int, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clusters and probabilities of records from number ``start`` on: fitted ones first, then those that join them."""
    known = slice(start, min(start + len(batch), len(fitted.clusters)))
    rest = batch[max(0, len(fitted.clusters) - start) :]
    clusters, probabilities = neighbours.assign(fitted.project(rest))
    return (
        np.concatenate([fitted.clusters[known], clusters]).astype(np.int64),
        np.concatenate([fitted.probabilities[known], probabilities]),
    )


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
