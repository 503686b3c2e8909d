"""Mining of unknown instances (Sec. 6.3).

Step 1, connected components, is in ``components``; here: overlap with the query masks (2), entropy of their class
scores over stuff and over things (3), and the decision (4).

Where the paper is silent:

* "significant overlap" is an IoU of at least a threshold (0.5 by default, the one at which segments match in PQ);
  a query's mask is sigmoid(M) >= 0.5, of every query: a no-object query is just the one that fits an unknown object.
* The entropy of a group is that of the query's class scores renormalised within the group, divided by log(size of the
  group) so that 53 stuff and 72 thing classes compare. The sum of -p log p over the raw scores would instead *grow*
  with the group's scores wherever p < 1/e and so decide the opposite of what step 4 concludes from it: with
  E_S > E_T, the scores single out a thing and no stuff, hence "more likely things". A group of one class has entropy
  0, an empty one 1 (nothing speaks for it). Averages are over the significantly overlapping queries.
* A label set without things, or with a single stuff class, would make every such object stuff. Where the candidates are
  those of the anomaly score, step 4 is left out then: the score has already said that the pixels are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.components import Component, find_components

PAPER_COMPONENTS = 3
"""Number of connected components (Sec. 7.3: 2, 2 and 3 for 5, 10 and 20 % unknown classes; Table 7)."""

PAPER_ITERATIONS = 500
"""Iterations of the connected-component algorithm (Sec. 7.3, Table 6)."""


def mask_areas(query_masks: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Pixels of every query's mask, enlarged by repetition and cut to ``size``.

    Args:
        query_masks: bool [Q, h, w], h = ceil(H / stride), w = ceil(W / stride).
        size: H, W in pixels.
        stride: pixels per mask entry and side.

    Returns:
        float64 [Q].
    """
    bottom, right = (side - stride * (cells - 1) for side, cells in zip(size, query_masks.shape[1:], strict=True))
    # Counted, not multiplied: the threads of a BLAS spin on after a product, for longer than a frame takes.
    all_cells = np.array([np.count_nonzero(mask) for mask in np.ascontiguousarray(query_masks)], np.int64)
    last_row, last_column = (np.count_nonzero(query_masks.take(-1, axis), axis=1) for axis in (1, 2))
    areas: np.ndarray = stride**2 * all_cells - stride * ((stride - bottom) * last_row + (stride - right) * last_column)
    areas += (stride - bottom) * (stride - right) * query_masks[:, -1, -1]
    return areas.astype(np.float64)


def overlapping_queries(
    component: Component, query_masks: np.ndarray, size: tuple[int, int], stride: int, min_overlap: float
) -> np.ndarray:
    """The queries whose masks overlap a component significantly (step 2), exact for masks enlarged by repetition.

    Args:
        component: found at the enlarged size.
        query_masks: bool [Q, h, w], see ``mask_areas``.
        size: H, W in pixels.
        stride: pixels per mask entry and side.
        min_overlap: IoU from which an overlap is significant.

    Returns:
        int [N], ascending.
    """
    rows, cols = component.window
    # Component pixels counted per mask entry, so that no mask is enlarged.
    counts = np.add.reduceat(component.mask.astype(np.int64), _cell_starts(rows, stride), axis=0)
    counts = np.add.reduceat(counts, _cell_starts(cols, stride), axis=1)
    y, x = rows.start // stride, cols.start // stride
    covered = query_masks[:, y : y + counts.shape[0], x : x + counts.shape[1]]
    # Whole numbers have no BLAS; see ``mask_areas``.
    inside = covered.reshape(len(covered), -1) @ counts.ravel()
    # An IoU is at most the share of the component that the mask covers: few masks need to be counted.
    near = np.flatnonzero(inside >= min_overlap * component.area)
    if not near.size:
        return near
    union = component.area + mask_areas(query_masks[near], size, stride) - inside[near]
    found: np.ndarray = near[inside[near] >= min_overlap * union]
    return found


def _cell_starts(span: slice, stride: int) -> np.ndarray:
    """Offsets within the span where a new cell begins."""
    borders = np.arange(span.start // stride + 1, -(-span.stop // stride)) * stride - span.start
    return np.concatenate(([0], borders)).astype(np.intp)


def group_entropy(class_probs: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """Normalised entropy of the class scores within a group of classes (step 3).

    Args:
        class_probs: float [Q, K+1], softmax(C).
        classes: the group's class ids.

    Returns:
        float64 [Q], in [0, 1]: 0 = one class of the group stands out, 1 = none does.
    """
    ids = sorted(classes)
    if not ids:
        return np.ones(len(class_probs))
    if len(ids) == 1:
        return np.zeros(len(class_probs))
    scores = np.maximum(class_probs[:, ids].astype(np.float64), np.finfo(np.float64).tiny)
    shares = scores / scores.sum(axis=1, keepdims=True)
    entropy: np.ndarray = -(shares * np.log(shares)).sum(axis=1) / np.log(len(ids))
    return entropy


def looks_like_thing(class_probs: np.ndarray, labels: LabelSet) -> bool:
    """The decision E_S > E_T (step 4).

    Args:
        class_probs: float [N, K+1], softmax(C) of the overlapping queries, N >= 1.
        labels: says which classes are stuff and things.
    """
    stuff = group_entropy(class_probs, labels.stuff).mean()
    things = group_entropy(class_probs, labels.things).mean()
    return bool(stuff > things)


def mine_unknown(
    candidates: np.ndarray,
    query_masks: np.ndarray,
    class_probs: np.ndarray,
    labels: LabelSet,
    *,
    stride: int,
    mask_required: bool,
    min_overlap: float = 0.5,
    min_area: int = 1,
    number: int | None = PAPER_COMPONENTS,
    iterations: int | None = PAPER_ITERATIONS,
) -> list[Component]:
    """Mine the unknown instances among candidate pixels (steps 1-4).

    Args:
        candidates: bool [H, W]: the binarised background (Eq. 17), or the binarised anomaly score (Eqs. 7, 15).
        query_masks: bool [Q, h, w], sigmoid(M) >= 0.5, h = ceil(H / stride), w = ceil(W / stride).
        class_probs: float [Q, K+1], softmax(C), last = no object.
        labels: the known classes.
        stride: pixels per mask entry and side.
        mask_required: whether a component that no query's mask overlaps significantly is dropped. True for the
            background, as in the paper: much of it is unlabelled stuff. False for the anomaly score, which has
            already said that the pixels are unknown.
        min_overlap: IoU from which an overlap is significant.
        min_area: components with fewer pixels are dropped.
        number: see ``components``.
        iterations: see ``components``.

    Returns:
        The unknown instances, largest first; none overlaps another.
    """
    components = find_components(candidates, number, iterations, min_area)
    if not components:
        return []
    height, width = candidates.shape
    decides = mask_required or (len(labels.things) > 0 and len(labels.stuff) != 1)
    if not decides:
        return components
    unknown = []
    for component in components:
        overlapping = overlapping_queries(component, query_masks, (height, width), stride, min_overlap)
        if looks_like_thing(class_probs[overlapping], labels) if overlapping.size else not mask_required:
            unknown.append(component)
    return unknown
