"""Unknown instances as records: outline, box, ground contact and score."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.openset.components import Component
from m2a_core.preprocess import Geometry
from m2a_core.types import UnknownInstance

MAX_INSTANCES = 255
"""More do not fit the panoptic encoding."""


def describe_instances(
    components: list[Component], score: np.ndarray, geometry: Geometry
) -> tuple[np.ndarray, tuple[UnknownInstance, ...]]:
    """Number the unknown instances by descending score and describe them at the image's own size.

    Args:
        components: disjoint, found at the network's size inside the valid area; at most 255.
        score: float32, the decision's score at the network's size; an instance's is its mean over the component.
        geometry: how the image lies in the network's input.

    Returns:
        uint16 of the valid area's size, 0 none, else an instance's id, for ``Geometry.undo_labels``; and the instances
        in the image's pixels, ids 1..n in order. A component that lies between the pixels of a smaller image is left
        out.
    """
    scored = sorted(((float(score[c.window][c.mask].mean()), c) for c in components), key=lambda pair: -pair[0])
    numbers = np.zeros(geometry.valid, np.uint16)
    for number, (_, component) in enumerate(scored, start=1):
        numbers[component.window][component.mask] = number
    instances: list[UnknownInstance] = []
    ids_of = np.zeros(len(scored) + 1, np.uint16)
    for number, (mean, component) in enumerate(scored, start=1):
        rows, cols = _window_at_image(component, geometry)
        mask = geometry.undo_labels(numbers, window=(rows, cols)) == number
        if described := _describe(mask, cols.start, rows.start, len(instances) + 1, mean):
            instances.append(described)
            ids_of[number] = len(instances)
    if len(instances) < len(scored):
        numbers = ids_of[numbers]
    return numbers, tuple(instances)


def _window_at_image(component: Component, geometry: Geometry) -> tuple[slice, slice]:
    """A window of the image that is sure to hold the component."""
    rows, cols = (
        slice(max(0, int(span.start / scale) - 1), min(limit, int(span.stop / scale) + 2))
        for span, scale, limit in zip(component.window, geometry.scale, geometry.original, strict=True)
    )
    return rows, cols


def _describe(mask: np.ndarray, left: int, top: int, number: int, score: float) -> UnknownInstance | None:
    """The record of a mask whose first pixel is at (left, top) of the image; None of an empty one."""
    bits = mask.view(np.uint8)
    x, y, width, height = cv2.boundingRect(bits)
    if not width:
        return None
    contours, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
    # Resizing can cut a thin component in two; the outline is then the larger part's.
    contour = contours[0] if len(contours) == 1 else max(contours, key=lambda c: (cv2.contourArea(c), len(c)))
    lowest = y + height - 1
    return UnknownInstance(
        id=number,
        score=score,
        area=int(np.count_nonzero(mask)),
        bbox=(left + x, top + y, left + x + width, top + y + height),
        contour=contour[:, 0, :].astype(np.int32),
        contact=(left + float(np.flatnonzero(mask[lowest]).mean()), float(top + lowest)),
    )
