"""Multi-scale deformable attention once more, from its definition: one sample after the other, float64 NumPy."""

from __future__ import annotations

import math

import numpy as np


def deformable_attention(value, projection, shapes, points):
    """[B, S, N, D], [B, S, 3NLP] -> [B, S, N*D]; no clamping, no vectorised sampling, no shared formula."""
    value, projection = (np.asarray(x, np.float64) for x in (value, projection))
    batch, keys, heads, dim = value.shape
    levels = len(shapes)
    split = 2 * heads * levels * points
    offsets = projection[..., :split].reshape(batch, keys, heads, levels, points, 2)
    logits = projection[..., split:].reshape(batch, keys, heads, levels * points)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = (weights / weights.sum(-1, keepdims=True)).reshape(batch, keys, heads, levels, points)
    centres = [((c + 0.5) / w, (r + 0.5) / h) for h, w in shapes for r in range(h) for c in range(w)]
    starts = np.cumsum([0] + [h * w for h, w in shapes])
    out = np.zeros((batch, keys, heads, dim))
    for b, q, n, i, p in np.ndindex(batch, keys, heads, levels, points):
        h, w = shapes[i]
        plane = value[b, starts[i] : starts[i] + h * w, n].reshape(h, w, dim)
        x = centres[q][0] * w + offsets[b, q, n, i, p, 0] - 0.5
        y = centres[q][1] * h + offsets[b, q, n, i, p, 1] - 0.5
        out[b, q, n] += weights[b, q, n, i, p] * bilinear(plane, x, y)
    return out.reshape(batch, keys, heads * dim)


def bilinear(plane, x, y):
    """Hat-function interpolation of [h, w, dim] at a place in cells; zero beyond the border and where x or y is NaN."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return np.zeros(plane.shape[-1])
    total = np.zeros(plane.shape[-1])
    for r in (math.floor(y), math.floor(y) + 1):
        for c in (math.floor(x), math.floor(x) + 1):
            if 0 <= r < plane.shape[0] and 0 <= c < plane.shape[1]:
                total += plane[r, c] * (1 - abs(x - c)) * (1 - abs(y - r))
    return total
