"""Clusters of records that look alike, the ones worth a look first.

HDBSCAN (Campello, Moulavi, Sander, PAKDD 2013) as scikit-learn has it, on the first principal axes of unit vectors,
where Euclidean distance follows the cosine: densities in hundreds of dimensions tell little. Of embeddings that join
blocks of several sources, every number is standardised over the records first, and every block keeps its weight: a few
features that are large in every picture would drown what tells kinds apart. Up to ``MAX_FITTED``
records are fitted; of more, those of the lowest ids, which are hashes and so a random choice that is the same every
time; the others join the cluster of their nearest fitted neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from m2a_core.harvest.records import NO_CLUSTER

MIN_CLUSTER = 4
"""Objects that make a cluster."""

MAX_FITTED = 20_000
AXES, STANDARD_AXES = 32, 12
"""Of embeddings of one block and of standardised ones. Fewer lose kinds, and which ones changes from axis to axis; more
add noise."""

_FARTHEST = 3.0
"""Standard deviations from the mean, beyond which a number says no more."""

MIN_PROBABILITY = 0.1
"""A record that belongs less to its cluster is in none: HDBSCAN leaves what lies alone in the nearest."""

_MIN_SAMPLES = 2
_NEIGHBOURS = 3
_REACH = 1.2
"""How much farther than a cluster's own members lie from each other a newcomer may lie."""

_NEAR_M = 10.0
_UNKNOWN_NEARNESS = 0.5


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each number of embeddings, and where blocks begin and end.

    Attributes:
        mean: float [D].
        deviation: float [D], > 0.
        blocks: numbers of each block.
    """

    mean: np.ndarray
    deviation: np.ndarray
    blocks: tuple[slice, ...]

    @classmethod
    def of(cls, vectors: np.ndarray, sizes: Sequence[int]) -> Standard:
        """That of embeddings float32 [N, D], N >= 1, whose blocks have these sizes."""
        ends = np.cumsum(sizes).tolist()
        blocks = tuple(slice(end - size, end) for size, end in zip(sizes, ends, strict=True))
        deviation = vectors.std(axis=0)
        for block in blocks:
            # What hardly changes must not become all that counts.
            deviation[block] += 1e-3 * vectors[:, block].std() + 1e-12
        return cls(vectors.mean(axis=0), deviation, blocks)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Standardised embeddings float [N, D], of length 1; each block is as long in relation as it was."""
        scaled: np.ndarray = np.clip((vectors - self.mean) / self.deviation, -_FARTHEST, _FARTHEST)
        for block in self.blocks:
            weight = np.linalg.norm(vectors[:, block], axis=1, keepdims=True)
            scaled[:, block] *= weight / np.maximum(np.linalg.norm(scaled[:, block], axis=1, keepdims=True), 1e-12)
        return scaled


@dataclass(frozen=True)
class Fitted:
    """Clusters of the records that were fitted.

    Attributes:
        vectors: float [N, A], their embeddings along the principal axes.
        clusters: int [N], from 0; ``NO_CLUSTER`` for none.
        probabilities: float [N], in [0, 1].
        scale: how embeddings are standardised; None for those of one block.
        mean: float [D], of what ``scale`` makes of their embeddings.
        axes: float [A, D], the principal axes.
    """

    vectors: np.ndarray
    clusters: np.ndarray
    probabilities: np.ndarray
    scale: Standard | None
    mean: np.ndarray
    axes: np.ndarray

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Embeddings float32 [M, D] along the axes."""
        scaled = vectors if self.scale is None else self.scale.apply(vectors)
        projected: np.ndarray = (scaled - self.mean) @ self.axes.T
        return projected


@dataclass(frozen=True)
class Worth:
    """What decides the rank of a cluster.

    Attributes:
        objects: how many there are, duplicates not counted.
        score: mean of their mean scores.
        probability: mean of how sure they belong together.
        distance: metres, the smallest; None where unknown.
    """

    objects: int
    score: float
    probability: float
    distance: float | None

    @property
    def rank(self) -> float:
        """How often, how near, how sure, as one figure; the larger, the earlier in the gallery."""
        nearness = _UNKNOWN_NEARNESS if self.distance is None else _NEAR_M / (_NEAR_M + self.distance)
        return self.objects * self.score * self.probability * nearness


def fit(vectors: np.ndarray, min_cluster: int = MIN_CLUSTER, blocks: Sequence[int] = ()) -> Fitted:
    """Cluster embeddings.

    Args:
        vectors: float32 [N, D], of length 1, in an order that does not depend on who made them when.
        min_cluster: objects that make a cluster, >= 2.
        blocks: sizes of the embeddings' parts.
    """
    from sklearn.cluster import HDBSCAN

    scale = Standard.of(vectors, blocks) if len(blocks) > 1 and len(vectors) else None
    scaled = vectors if scale is None else scale.apply(vectors)
    mean = scaled.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1], np.float32)
    axes = _principal_axes((scaled - mean).astype(np.float64))[: AXES if scale is None else STANDARD_AXES]
    none = Fitted(vectors, np.full(len(vectors), NO_CLUSTER), np.zeros(len(vectors)), scale, mean, axes)
    along = none.project(vectors)
    # Too few to tell a cluster from all there is.
    if len(vectors) < 2 * min_cluster:
        return replace(none, vectors=along)
    model = HDBSCAN(min_cluster_size=min_cluster, min_samples=min(_MIN_SAMPLES, min_cluster), copy=True)
    clusters = model.fit_predict(along).astype(np.int64)
    sure = model.probabilities_ >= MIN_PROBABILITY
    clusters = np.where(sure, clusters, NO_CLUSTER)
    fitted = replace(none, vectors=along, clusters=clusters, probabilities=np.where(sure, model.probabilities_, 0.0))
    # HDBSCAN leaves out the rim of its clusters, which a newcomer would join.
    left = clusters == NO_CLUSTER
    clusters[left], fitted.probabilities[left] = Neighbours(fitted).assign(along[left])
    return fitted


def _principal_axes(centred: np.ndarray) -> np.ndarray:
    """The first ``AXES`` principal axes [A, D] of float64 [N, D]."""
    count, dimensions = centred.shape
    if count <= dimensions:
        return np.asarray(np.linalg.svd(centred, full_matrices=False)[2][:AXES])
    # Of many records the covariance is small, and an SVD holds them several times over.
    return np.asarray(np.linalg.eigh(centred.T @ centred)[1][:, ::-1].T[:AXES])


class Neighbours:
    """Which cluster's fitted records a vector is nearest to."""

    def __init__(self, fitted: Fitted) -> None:
        """Index the fitted records that are in clusters."""
        from sklearn.neighbors import NearestNeighbors

        inside = fitted.clusters != NO_CLUSTER
        self._clusters, vectors = fitted.clusters[inside], fitted.vectors[inside]
        self._index = None
        if len(vectors) > _NEIGHBOURS:
            self._index = NearestNeighbors(n_neighbors=_NEIGHBOURS + 1).fit(vectors)
            own = _REACH * self._index.kneighbors(vectors)[0][:, _NEIGHBOURS]
            self._reach = {n: float(np.percentile(own[self._clusters == n], 95)) for n in np.unique(self._clusters)}

    def assign(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cluster and probability of vectors [N, A] along the axes; most of the nearest must be of it, in its reach."""
        clusters, probabilities = np.full(len(vectors), NO_CLUSTER), np.zeros(len(vectors))
        if self._index is None or not len(vectors):
            return clusters, probabilities
        distances, indices = self._index.kneighbors(vectors, _NEIGHBOURS)
        for row, (away, nearest) in enumerate(zip(distances, indices, strict=True)):
            number, votes = Counter(self._clusters[nearest].tolist()).most_common(1)[0]
            if 2 * votes > _NEIGHBOURS and away[-1] <= self._reach[number]:
                clusters[row], probabilities[row] = number, votes / _NEIGHBOURS
        return clusters, probabilities


def ranked(worth: dict[int, Worth]) -> dict[int, int]:
    """Clusters' numbers as they were fitted -> numbers by rank, from 0; ties by the fitted number."""
    order: Sequence[int] = sorted(worth, key=lambda number: (-worth[number].rank, number))
    return {number: rank for rank, number in enumerate(order)}
