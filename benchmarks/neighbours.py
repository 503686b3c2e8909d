"""Nearest neighbours of a fleet's embeddings: scikit-learn, faiss and hnswlib, each in a process of its own.

Vectors as the harvest has them on its principal axes: clusters of different spread, a tenth of them alone. Each library
indexes them all and is asked for the 6 nearest of 10,000 of them; recall is against scikit-learn's exact search.

python -m benchmarks.neighbours [--vectors 100000] [--axes 32]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

NEIGHBOURS = 6
QUERIES = 10_000
_CLUSTERS = 500


def vectors(count: int, axes: int) -> np.ndarray:
    """float32 [count, axes], the same every time; their spread falls along the axes as that of principal axes does."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(1 + np.arange(axes))
    centres = rng.normal(size=(_CLUSTERS, axes)) * scale
    spread = rng.uniform(0.1, 0.5, (count, 1)) * scale
    made = centres[rng.integers(_CLUSTERS, size=count)] + rng.normal(size=(count, axes)) * spread
    alone = rng.random(count) < 0.1
    made[alone] = rng.normal(size=(int(alone.sum()), axes)) * scale
    return made.astype(np.float32)


def scikit_learn(data: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Exact, by a tree or brute force as the library chooses."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(data)
    return lambda queries: np.asarray(index.kneighbors(queries, return_distance=False))


def faiss_flat(data: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Exact, by brute force."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(data.shape[1])
    index.add(data)
    return lambda queries: np.asarray(index.search(queries, NEIGHBOURS)[1])


def hnsw(data: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Approximate, by a graph (Malkov and Yashunin, TPAMI 2020) of hnswlib's default size."""
    import hnswlib

    index = hnswlib.Index("l2", data.shape[1])
    index.init_index(len(data))
    index.set_num_threads(1)
    index.add_items(data)
    index.set_ef(50)
    return lambda queries: np.asarray(index.knn_query(queries, NEIGHBOURS)[0])


LIBRARIES = {"scikit-learn": scikit_learn, "faiss-cpu, flat": faiss_flat, "hnswlib": hnsw}


def measure(name: str, count: int, axes: int, answers: Queue[tuple[float, float, float, np.ndarray]]) -> None:
    """Put CPU seconds to build and to ask, MiB that the index added, and the answers."""
    data = vectors(count, axes)
    # Imports are no part of it: the first, small index pays for them.
    LIBRARIES[name](data[:100])(data[:10])
    before = _resident_mib()
    start = time.process_time()
    ask = LIBRARIES[name](data)
    built = time.process_time()
    more = _resident_mib() - before
    found = ask(data[:QUERIES])
    asked = time.process_time()
    answers.put((built - start, asked - built, more, found.astype(np.int64)))


def _resident_mib() -> float:
    """Resident memory of the process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--axes", type=int, default=32)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    exact = None
    for name in LIBRARIES:
        answers: Queue[tuple[float, float, float, np.ndarray]] = context.Queue()
        process = context.Process(target=measure, args=(name, args.vectors, args.axes, answers))
        process.start()
        build, ask, memory, found = answers.get()
        process.join()
        exact = found if exact is None else exact
        recall = np.mean(
            [len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
        )
        print(
            f"{name}: build {build:.2f} s, {QUERIES} queries {ask:.2f} s, {memory:.0f} MiB, recall {100 * recall:.1f} %"
        )


if __name__ == "__main__":
    main()
