"""What lies near enough to a cluster's records to belong to it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from m2a_core.harvest.records import NO_CLUSTER

_NEIGHBOURS = 3
_REACH = 1.2
"""How much farther than a cluster's own members lie from each other a newcomer may lie."""


class Neighbours:
    """Which cluster's records a vector is nearest to.

    Attributes:
        reach: cluster -> how far from its records a newcomer may lie.
    """

    def __init__(self, vectors: np.ndarray, clusters: np.ndarray) -> None:
        """Index records float [N, A] that are in clusters, int [N]."""
        from sklearn.neighbors import NearestNeighbors

        inside = clusters != NO_CLUSTER
        self._clusters, vectors = clusters[inside], vectors[inside]
        self._index = None
        self.reach: dict[int, float] = {}
        if len(vectors) > _NEIGHBOURS:
            self._index = NearestNeighbors(n_neighbors=_NEIGHBOURS + 1).fit(vectors)
            own = _REACH * self._index.kneighbors(vectors)[0][:, _NEIGHBOURS]
            self.reach = {
                n: float(np.percentile(own[self._clusters == n], 95)) for n in np.unique(self._clusters).tolist()
            }

    def assign(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cluster and probability of vectors [M, A]; most of the nearest must be of it, all in its reach."""
        clusters, probabilities = np.full(len(vectors), NO_CLUSTER), np.zeros(len(vectors))
        if self._index is None or not len(vectors):
            return clusters, probabilities
        distances, indices = self._index.kneighbors(vectors, _NEIGHBOURS)
        for row, (away, nearest) in enumerate(zip(distances, indices, strict=True)):
            number, votes = Counter(self._clusters[nearest].tolist()).most_common(1)[0]
            if 2 * votes > _NEIGHBOURS and away[-1] <= self.reach[number]:
                clusters[row], probabilities[row] = number, votes / _NEIGHBOURS
        return clusters, probabilities
