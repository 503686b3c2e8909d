"""Clusters of records that look alike, the ones worth a look first.

Up to ``MAX_FITTED`` records are clustered by ``consensus``, on the first principal axes of unit vectors, where
Euclidean distance follows the cosine: densities in hundreds of dimensions tell little. Of embeddings that join blocks
of several sources, every number is standardised over the records first, and every block keeps its weight: a few
features that are large in every picture would drown what tells kinds apart. Other records join the cluster of their
nearest fitted neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2a_core.harvest.consensus import consensus
from m2a_core.harvest.neighbours import Neighbours
from m2a_core.harvest.projection import Projection
from m2a_core.harvest.records import NO_CLUSTER

MIN_CLUSTER = 4
"""Objects that make a cluster."""

MAX_FITTED = 4_000
"""Time and memory grow with the square."""

AXES, STANDARD_AXES = 32, 12
"""Of embeddings of one block and of standardised ones, for newcomers."""

_LOOSE = 1.5
"""Times the reach of the middle cluster; a few records lie a little farther apart than many."""

_NEAR_M = 10.0
_UNKNOWN_NEARNESS = 0.5


@dataclass(frozen=True)
class Fitted:
    """Clusters of the records that were fitted.

    Attributes:
        clusters: int [N], from 0; ``NO_CLUSTER`` for none.
        probabilities: float [N], in [0, 1].
        projection: of their embeddings.
        neighbours: of their embeddings along its axes.
    """

    clusters: np.ndarray
    probabilities: np.ndarray
    projection: Projection
    neighbours: Neighbours

    def assign(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clusters int [M] and probabilities float [M] of other embeddings, float32 [M, D]."""
        return self.neighbours.assign(self.projection.apply(vectors))

    def loose(self, vectors: np.ndarray, other: Fitted) -> set[int]:
        """Clusters of other fitted embeddings, float32 [M, D], whose records lie farther apart than those of these."""
        limit = _LOOSE * np.median(list(self.neighbours.reach.values()))
        apart = Neighbours(self.projection.apply(vectors), other.clusters).reach
        return {number for number, reach in apart.items() if reach > limit}


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
    projection = Projection.of(vectors, blocks, STANDARD_AXES if len(blocks) > 1 else AXES)
    clusters, probabilities = consensus(vectors, min_cluster, blocks)
    along = projection.apply(vectors)
    # Runs that do not agree leave out the rim of clusters, which a newcomer would join.
    left = clusters == NO_CLUSTER
    clusters[left], probabilities[left] = Neighbours(along, clusters).assign(along[left])
    return Fitted(clusters, probabilities, projection, Neighbours(along, clusters))


def ranked(worth: dict[int, Worth]) -> dict[int, int]:
    """Clusters' numbers as they were fitted -> numbers by rank, from 0; ties by the fitted number."""
    order: Sequence[int] = sorted(worth, key=lambda number: (-worth[number].rank, number))
    return {number: rank for rank, number in enumerate(order)}
