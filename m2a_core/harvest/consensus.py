"""Which records belong together whatever part of them is looked at.

One density clustering (HDBSCAN: Campello, Moulavi, Sander, PAKDD 2013) joins kinds by chance: which ones changes with
an axis, or with a few records more. So it runs ``RUNS`` times, each time on other records, other blocks of the
embeddings and another number of axes, and what counts is how often two records come together (evidence accumulation:
Fred and Jain, "Combining Multiple Clusterings Using Evidence Accumulation", PAMI 2005; random subspaces: Ho, PAMI
1998).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2a_core.harvest.neighbours import Neighbours
from m2a_core.harvest.projection import Projection, slices
from m2a_core.harvest.records import NO_CLUSTER

RUNS = 24
RECORDS, BLOCKS = 0.85, 0.7
"""Share of the records in a run, and of the blocks, if there are several."""

AXES, STANDARD_AXES = (32,), (8, 10, 12, 16, 20)
"""Principal axes in one run after the other, of embeddings of one block and of several. Fewer lose kinds, more add
noise."""

TOGETHER = 0.5
"""Records of a cluster are together in so many runs, on average over the two parts it was last joined of."""

_MIN_SAMPLES = 2
_MIN_PROBABILITY = 0.1
"""A record that belongs less to its cluster is in none: HDBSCAN leaves what lies alone in the nearest."""

_SEED = 1


def consensus(vectors: np.ndarray, min_cluster: int, blocks: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Cluster embeddings; the same for the same ones.

    Args:
        vectors: float32 [N, D], of length 1.
        min_cluster: records that make a cluster, >= 2.
        blocks: sizes of the embeddings' parts.

    Returns:
        Clusters int [N], from 0 in the order of their first records, ``NO_CLUSTER`` for none; and how often each record
        was together with the others of its cluster, float [N] in [0, 1].
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(vectors) < 2 * min_cluster:
        # Too few to tell a cluster from all there is.
        return np.full(len(vectors), NO_CLUSTER), np.zeros(len(vectors))
    together = _together(vectors, min_cluster, blocks)
    tree = linkage(squareform(1 - together, checks=False), "average")
    parts = fcluster(tree, 1 - TOGETHER, "distance") - 1
    _, first, parts, counts = np.unique(parts, return_index=True, return_inverse=True, return_counts=True)
    large = counts >= min_cluster
    numbers = np.full(len(counts), NO_CLUSTER)
    numbers[np.flatnonzero(large)[np.argsort(first[large])]] = np.arange(np.count_nonzero(large))
    clusters = numbers[parts]
    sure = np.zeros(len(vectors))
    for number in range(np.count_nonzero(large)):
        inside = np.flatnonzero(clusters == number)
        sure[inside] = (together[np.ix_(inside, inside)].sum(axis=1) - 1) / (len(inside) - 1)
    return clusters, sure


def _together(vectors: np.ndarray, min_cluster: int, blocks: Sequence[int]) -> np.ndarray:
    """Of the runs with both of two records, not both in no cluster, the share that joins them: float32 [N, N]."""
    rng = np.random.default_rng(_SEED)
    count, places = len(vectors), slices(blocks)
    joined, judged = (np.zeros((count, count), np.uint8) for _ in range(2))
    for run in range(RUNS):
        chosen = np.sort(rng.choice(count, max(2 * min_cluster, round(RECORDS * count)), replace=False))
        used = np.flatnonzero(rng.random(len(places)) < BLOCKS).tolist() or list(range(len(places)))
        part, sizes = vectors[chosen], [blocks[n] for n in used]
        if len(places) > 1:
            part = np.concatenate([part[:, places[n]] for n in used], axis=1)
        axes = STANDARD_AXES if len(places) > 1 else AXES
        clusters = _clusters(Projection.of(part, sizes, axes[run % len(axes)]).apply(part), min_cluster)
        inside = clusters != NO_CLUSTER
        window = np.ix_(chosen, chosen)
        joined[window] += (clusters[:, None] == clusters) & inside[:, None]
        judged[window] += inside[:, None] | inside
    shares: np.ndarray = joined / np.maximum(judged, 1, dtype=np.float32)
    np.fill_diagonal(shares, 1)
    return shares


def _clusters(along: np.ndarray, min_cluster: int) -> np.ndarray:
    """One clustering of float [N, A]: int [N]."""
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=min_cluster, min_samples=min(_MIN_SAMPLES, min_cluster), copy=True)
    found = model.fit_predict(along)
    clusters: np.ndarray = np.where(model.probabilities_ >= _MIN_PROBABILITY, found, NO_CLUSTER).astype(np.int64)
    # HDBSCAN leaves out the rim of its clusters, which a newcomer would join.
    left = clusters == NO_CLUSTER
    clusters[left] = Neighbours(along, clusters).assign(along[left])[0]
    return clusters
