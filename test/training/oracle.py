"""The losses once more in float64 NumPy and SciPy, written from the papers' definitions, pixel loops and all."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.special import expit, log_expit, log_softmax, softmax


def at_points(plane: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear samples of [h, w] at x, y in [0, 1]; pixel centres at half integers, zero outside."""
    height, width = plane.shape
    rows, columns = points[:, 1] * height - 0.5, points[:, 0] * width - 0.5
    return map_coordinates(plane, [rows, columns], order=1, mode="grid-constant", cval=0.0)


def sigmoid_ce(logits: np.ndarray, truth: np.ndarray) -> float:
    """Mean binary cross-entropy."""
    return float(-(truth * log_expit(logits) + (1 - truth) * log_expit(-logits)).mean())


def dice(logits: np.ndarray, truth: np.ndarray) -> float:
    """Dice loss with one added to numerator and denominator."""
    probs = expit(logits)
    return float(1 - (2 * (probs * truth).sum() + 1) / (probs.sum() + truth.sum() + 1))


def cost_matrix(class_logits, mask_logits, classes, masks, points, weights=(2.0, 5.0, 5.0)) -> np.ndarray:
    """Costs [Q, N] of one image: -p(class), binary cross-entropy and dice at the points, weighted."""
    probs = softmax(class_logits, -1)
    cost = np.empty((len(class_logits), len(classes)))
    for q in range(len(class_logits)):
        guess = at_points(mask_logits[q], points)
        for n, class_id in enumerate(classes):
            truth = at_points(masks[n], points)
            cost[q, n] = (
                -weights[0] * probs[q, class_id]
                + weights[1] * sigmoid_ce(guess, truth)
                + weights[2] * dice(guess, truth)
            )
    return cost


def best_queries(cost: np.ndarray) -> tuple[int, ...]:
    """The query of each segment in the cheapest assignment, by trying all of them."""
    queries, segments = cost.shape
    return min(permutations(range(queries), segments), key=lambda p: sum(cost[q, n] for n, q in enumerate(p)))


def set_criterion(heads, targets, points, no_object=0.1, weights=(2.0, 5.0, 5.0)) -> dict[str, float]:
    """Losses summed over heads.

    Args:
        heads: (class logits [B, Q, K+1], mask logits [B, Q, h, w]) per head.
        targets: (classes [N], masks [N, H, W]) per image.
        points: [P, 2], of matching and of the mask losses.
        no_object: class weight of the last class.
        weights: of the matching costs.
    """
    total = {"ce": 0.0, "bce": 0.0, "dice": 0.0}
    num_masks = max(1, sum(len(classes) for classes, _ in targets))
    for class_logits, mask_logits in heads:
        weighted, weight_sum = 0.0, 0.0
        for b, (classes, masks) in enumerate(targets):
            wanted = np.full(class_logits.shape[1], class_logits.shape[2] - 1)
            if len(classes):
                queries = best_queries(cost_matrix(class_logits[b], mask_logits[b], classes, masks, points, weights))
                for n, q in enumerate(queries):
                    wanted[q] = classes[n]
                    guess, truth = at_points(mask_logits[b, q], points), at_points(masks[n], points)
                    total["bce"] += sigmoid_ce(guess, truth) / num_masks
                    total["dice"] += dice(guess, truth) / num_masks
            for q, class_id in enumerate(wanted):
                weight = no_object if class_id == class_logits.shape[2] - 1 else 1.0
                weighted -= weight * log_softmax(class_logits[b, q])[class_id]
                weight_sum += weight
        total["ce"] += weighted / weight_sum
    return total


def upsample_corners(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear with the corners' centres aligned."""
    rows, columns = (np.linspace(0, n - 1, m) for n, m in zip(plane.shape, size, strict=True))
    return map_coordinates(plane, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")


def outlier_loss(class_logits, mask_logits, outlier, known, variant: str, margin: float) -> float:
    """Eqs. 12-14 at full resolution: ``printed``, ``text`` or ``bce``."""
    known_terms, outlier_terms = [], []
    for b in range(len(class_logits)):
        probs, masks = softmax(class_logits[b], -1)[:, :-1], expit(mask_logits[b])
        scores = [sum(probs[q, k] * masks[q] for q in range(len(probs))) for k in range(probs.shape[1])]
        top = upsample_corners(np.max(scores, 0), outlier[b].shape)
        if variant == "bce":
            anomaly = np.clip(1 - top, 1e-6, 1 - 1e-6)
            for_known, for_outlier = -np.log(1 - anomaly), -np.log(anomaly)
        else:
            value = -top if variant == "printed" else 1 - top
            for_known, for_outlier = value**2, np.maximum(0, margin - value) ** 2
        known_terms.append(for_known[known[b]])
        outlier_terms.append(for_outlier[outlier[b]])
    result = 0.0
    for terms in (np.concatenate(known_terms), np.concatenate(outlier_terms)):
        result += terms.mean() if len(terms) else 0.0
    return result / 2
