"""Embeddings brought to the few directions in which they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FARTHEST = 3.0
"""Standard deviations from the mean, beyond which a number says no more."""


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
        blocks = slices(sizes)
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
class Projection:
    """Principal axes of embeddings, standardised first where they join several blocks.

    Attributes:
        scale: how embeddings are standardised; None for those of one block.
        mean: float [D], of what ``scale`` makes of the embeddings that the axes are of.
        axes: float [A, D], the principal axes, the largest first.
    """

    scale: Standard | None
    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, sizes: Sequence[int], axes: int) -> Projection:
        """That of embeddings float32 [N, D], whose blocks have these sizes, along at most ``axes`` axes."""
        scale = Standard.of(vectors, sizes) if len(sizes) > 1 and len(vectors) else None
        scaled = vectors if scale is None else scale.apply(vectors)
        mean = scaled.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1], np.float32)
        return cls(scale, mean, _principal_axes((scaled - mean).astype(np.float64), axes))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Embeddings float32 [M, D] along the axes, float [M, A]."""
        scaled = vectors if self.scale is None else self.scale.apply(vectors)
        projected: np.ndarray = (scaled - self.mean) @ self.axes.T
        return projected


def slices(sizes: Sequence[int]) -> tuple[slice, ...]:
    """Where blocks of these sizes lie in an embedding."""
    ends = np.cumsum(sizes).tolist()
    return tuple(slice(end - size, end) for size, end in zip(sizes, ends, strict=True))


def _principal_axes(centred: np.ndarray, axes: int) -> np.ndarray:
    """The first principal axes [A, D] of float64 [N, D]."""
    count, dimensions = centred.shape
    if count <= dimensions:
        # Its eigenvectors give the axes at a fraction of the cost of an SVD.
        values, left = np.linalg.eigh(centred @ centred.T)
        order = [n for n in np.argsort(-values)[:axes] if values[n] > 1e-12 * values[-1]] if count else []
        return np.asarray((left[:, order].T @ centred) / np.sqrt(values[order])[:, None])
    # Of many records the covariance is small, and an SVD holds them several times over.
    return np.asarray(np.linalg.eigh(centred.T @ centred)[1][:, ::-1].T[:axes])
