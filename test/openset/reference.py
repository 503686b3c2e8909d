"""The paper's equations in float64, loop by loop where that is clearest: oracles that share no code with m2a."""

import math

import numpy as np


def softmax_rows(logits):
    out = np.empty(logits.shape)
    for i, row in enumerate(np.asarray(logits, np.float64)):
        e = [math.exp(v - max(row)) for v in row]
        out[i] = np.array(e) / sum(e)
    return out


def sigmoid(x):
    x = np.asarray(x, np.float64)
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def bilinear(image, size):
    """Half-pixel centres, clamped borders: the definition of align_corners=False."""
    h, w = image.shape
    out = np.empty(size)
    for y in range(size[0]):
        fy = min(max((y + 0.5) * h / size[0] - 0.5, 0), h - 1)
        y0 = int(fy)
        y1 = min(y0 + 1, h - 1)
        for x in range(size[1]):
            fx = min(max((x + 0.5) * w / size[1] - 0.5, 0), w - 1)
            x0 = int(fx)
            x1 = min(x0 + 1, w - 1)
            top = image[y0, x0] * (1 - fx + x0) + image[y0, x1] * (fx - x0)
            bottom = image[y1, x0] * (1 - fx + x0) + image[y1, x1] * (fx - x0)
            out[y, x] = top * (1 - fy + y0) + bottom * (fy - y0)
    return out


def bilinear_all(maps, size):
    return np.stack([bilinear(np.asarray(m, np.float64), size) for m in maps])


def class_scores(class_logits, masks):
    """Eq. 3 from mask probabilities."""
    return np.einsum("qk,qyx->kyx", softmax_rows(class_logits)[:, :-1], masks)


def claims(class_logits, masks):
    """Inside Eq. 17."""
    best = softmax_rows(class_logits)[:, :-1].max(1)
    return np.stack([p * m for p, m in zip(best, masks, strict=True)])


def refinement_mask(class_logits, masks, suppressed, min_queries, weighted):
    """R_M of Eq. 15 as 0/1, from mask probabilities."""
    keep = np.ones(masks.shape[1:])
    chosen = []
    for probabilities, mask in zip(softmax_rows(class_logits), masks, strict=True):
        score = max(probabilities)
        if list(probabilities).index(score) in suppressed and score > 0.95:
            chosen.append(score * mask >= 0.5 if weighted else mask > 0.5)
    if len(chosen) >= min_queries:
        for inside in chosen:
            keep[inside] = 0
    return keep


def random_queries(seed, queries=7, classes=11, height=6, width=9, confident=True):
    """Class logits of which some are above 0.95, and mask logits away from the thresholds' rounding."""
    rng = np.random.default_rng(seed)
    class_logits = rng.normal(0, 2, (queries, classes + 1))
    if confident:
        class_logits[np.arange(queries), rng.integers(0, classes + 1, queries)] += 8
    mask_logits = rng.normal(0, 4, (queries, height, width))
    return class_logits.astype(np.float32), mask_logits.astype(np.float32)
