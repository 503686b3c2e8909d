"""Background map of open-set panoptic segmentation (Sec. 6.2, Eq. 17)."""

from __future__ import annotations

import numpy as np

from m2a_core.openset.class_scores import sigmoid, softmax


def known_mask_scores(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """How strongly each query claims each pixel for a known class: max_Z softmax(C_q) * sigmoid(M_q) (inside Eq. 17).

    The paper takes the queries of known classes. All queries are taken here: one whose best class is "no object" has
    a small max_Z, and a hard choice of queries would make the map jump.

    Args:
        class_logits: float [Q, K+1], C; last = no object.
        mask_logits: float [Q, H, W], M.

    Returns:
        Same dtype, [Q, H, W], in [0, 1].
    """
    scores: np.ndarray = softmax(class_logits)[:, :-1].max(axis=1)[:, None, None] * sigmoid(mask_logits)
    return scores


def background(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Background B = 1 - max_q (max_Z softmax(C_q) * sigmoid(M_q)) (Eq. 17).

    Args:
        class_logits: float [Q, K+1], C; last = no object.
        mask_logits: float [Q, H, W], M.

    Returns:
        Same dtype, [H, W], in [0, 1]; high where no query claims the pixel for a known class.
    """
    scores: np.ndarray = 1 - known_mask_scores(class_logits, mask_logits).max(axis=0)
    return scores


def winning_query(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """The query that gives the maximum of Eq. 17; the lower index wins ties.

    Args:
        class_logits: float [Q, K+1], C; last = no object.
        mask_logits: float [Q, h, w], M.

    Returns:
        int32 [h, w], query indices.
    """
    winners: np.ndarray = known_mask_scores(class_logits, mask_logits).argmax(axis=0).astype(np.int32)
    return winners
