"""Closed-set panoptic segmentation of mask classification, and the unknown instances in it (OPS, Sec. 6).

The merge is that of Mask2Former's inference (Cheng et al., CVPR 2022,
https://github.com/facebookresearch/Mask2Former, ``panoptic_inference``), with ids that carry the class.
"""

from __future__ import annotations

import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.types import PANOPTIC_DIVISOR, PANOPTIC_VOID


def merge_segments(
    owner: np.ndarray,
    query_masks: np.ndarray,
    class_probs: np.ndarray,
    labels: LabelSet,
    keep_score: float,
    min_overlap: float,
) -> np.ndarray:
    """Merge the queries' masks into one panoptic map.

    A query is kept when its top class is not "no object" and scores above ``keep_score``. It gets the pixels that it
    owns inside its mask, unless it owns too little of its mask (it is then mostly hidden by others). Segments of one
    stuff class are one segment.

    The exported graph names the owner among *all* queries, Mask2Former among the kept ones; they differ where a query
    that is not kept scores highest: that pixel is void here.

    Args:
        owner: int [h, w], the query with the highest score at each pixel; negative for none.
        query_masks: bool [Q, H, W], sigmoid(M) >= 0.5, H >= h, W >= w; what lies right of the owners and below does not
            count.
        class_probs: float [Q, K+1], softmax(C), last = no object.
        labels: the known classes.
        keep_score: probability above which a query is kept.
        min_overlap: share of its mask that a query must own.

    Returns:
        int32 [h, w]: ``class_id * 256 + instance``, instance 0 for stuff and 1.. for the things of a class;
        65535 void.
    """
    (height, width), (queries, rows, columns) = owner.shape, query_masks.shape
    flat = owner.ravel().astype(np.intp)
    places = np.add.outer(columns * np.arange(height), np.arange(width)).ravel()
    inside = np.take(query_masks.reshape(-1), np.maximum(flat, 0) * (rows * columns) + places)
    # Each pixel's query and whether it lies in that one's mask as one number; the first are pixels without an owner.
    codes = 2 * (flat + 1) + inside
    counts = np.bincount(codes, minlength=2 * (queries + 1)).reshape(-1, 2)
    owned, drawn = counts.sum(axis=1), counts[:, 1]
    ids = np.full((queries + 1, 2), PANOPTIC_VOID, np.int32)
    instances = dict.fromkeys(labels.things, 0)
    for query in kept_queries(class_probs, keep_score):
        if not drawn[query + 1] or owned[query + 1] < min_overlap * np.count_nonzero(
            query_masks[query, :height, :width]
        ):
            continue
        class_id = int(class_probs[query].argmax())
        if class_id in labels.things:
            if instances[class_id] == PANOPTIC_DIVISOR - 1:
                continue
            instances[class_id] += 1
        ids[query + 1, 1] = class_id * PANOPTIC_DIVISOR + instances.get(class_id, 0)
    panoptic: np.ndarray = np.take(ids.reshape(-1), codes).reshape(owner.shape)
    return panoptic


def kept_queries(class_probs: np.ndarray, keep_score: float) -> np.ndarray:
    """Indices of the queries whose top class is not "no object" and scores above ``keep_score``, ascending.

    Args:
        class_probs: float [Q, K+1], softmax(C), last = no object.
        keep_score: in [0, 1].

    Returns:
        int [N], N <= Q.
    """
    no_object = class_probs.shape[1] - 1
    return np.flatnonzero((class_probs.argmax(axis=1) != no_object) & (class_probs.max(axis=1) > keep_score))


def draw_unknown(panoptic: np.ndarray, unknown_instances: np.ndarray, unknown_id: int) -> None:
    """Lay the unknown instances over a panoptic map, in place.

    Args:
        panoptic: int32 [H, W]; unknown instance i becomes ``unknown_id * 256 + i``.
        unknown_instances: uint16 [H, W], 0 none, else the instance's id, at most 255.
        unknown_id: class id of the unknown.
    """
    rows = np.flatnonzero(unknown_instances.any(axis=1))
    if rows.size:
        ids = unknown_instances[rows[0] : rows[-1] + 1]
        inside = ids > 0
        panoptic[rows[0] : rows[-1] + 1][inside] = unknown_id * PANOPTIC_DIVISOR + ids[inside].astype(np.int32)
