"""Class scores and the anomaly score of mask classification (Eqs. 3-7 of Mask2Anomaly, TPAMI 2024).

Arrays keep the floating type of their inputs. Shape legend: Q queries, K known classes, H W any size.
"""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Softmax along an axis.

    Args:
        logits: float, any shape.
        axis: the axis whose entries sum to 1.

    Returns:
        Same shape and dtype, in [0, 1].
    """
    exponentials = np.exp(logits - logits.max(axis=axis, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return probabilities


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function, without overflow for large magnitudes.

    Args:
        logits: float, any shape.

    Returns:
        Same shape and dtype, in [0, 1].
    """
    half = logits.dtype.type(0.5)
    probabilities: np.ndarray = half * (np.tanh(half * logits) + 1)
    return probabilities


def class_scores(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """S = softmax(C)^T sigmoid(M) over the known classes (Eq. 3).

    The softmax runs over all K+1 classes and "no object" is dropped after it. S sums over queries, so it can exceed 1.

    Args:
        class_logits: float [Q, K+1], C; last = no object.
        mask_logits: float [Q, H, W], M.

    Returns:
        Same dtype, [K, H, W], >= 0.
    """
    probabilities = softmax(class_logits)[:, :-1]
    masks = sigmoid(mask_logits)
    return np.tensordot(probabilities, masks, axes=(0, 0))


def segmentation(scores: np.ndarray) -> np.ndarray:
    """Closed-set segmentation g = argmax_Z S (Eqs. 4 and 5); the lower id wins ties.

    Args:
        scores: float [K, H, W], S; K <= 255.

    Returns:
        uint8 [H, W], class ids.
    """
    classes: np.ndarray = scores.argmax(axis=0).astype(np.uint8)
    return classes


def anomaly_score(scores: np.ndarray) -> np.ndarray:
    """Anomaly score f = 1 - max_Z S (Eq. 7), higher = more anomalous.

    Not clipped to [0, 1]: S can exceed 1, and clipping would tie what the metrics rank.

    Args:
        scores: float [K, H, W], S.

    Returns:
        Same dtype, [H, W], <= 1.
    """
    anomaly: np.ndarray = 1 - scores.max(axis=0)
    return anomaly
