"""Connected components of candidate pixels (Sec. 6.3, step 1), with the paper's two hyper-parameters.

The paper tunes a *number of connected components* (1, 2, 3, 5: Table 7) and a *number of iterations* (100 .. 1000:
Table 6) and defines neither. Read here as:

* ``number``: at most that many components of an image, the largest ones, become candidates. PQ then first rises with
  it (more true unknowns found) and then falls (small false ones), as Table 7 shows.
* ``iterations``: rounds of label propagation. Labelling on a GPU by repeated 3x3 maximum (as in
  ``kornia.contrib.connected_components(image, num_iterations)``) carries a label one pixel a round; with too few
  rounds a large component falls apart. ``None`` = until nothing changes: the exact 8-connected components, which the
  running path uses, by OpenCV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

_PEAK = 0.9
"""Quantile of a component's scores that stands for its peak: one pixel alone says little."""

_SUREST = 1 - 1e-6
"""Scores above have no log-odds to speak of in float32."""


@dataclass(frozen=True)
class Component:
    """A connected set of pixels.

    Attributes:
        x: left column of its bounding box, in pixels.
        y: top row of its bounding box, in pixels.
        mask: bool [height, width] of the bounding box, True on the component.
    """

    x: int
    y: int
    mask: np.ndarray

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the bounding box."""
        height, width = self.mask.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def find_components(
    candidates: np.ndarray, number: int | None = None, iterations: int | None = None, min_area: int = 1
) -> list[Component]:
    """The connected components of a mask, largest first.

    Args:
        candidates: bool [H, W].
        number: how many to give at most; None for all.
        iterations: rounds of label propagation, None for exact labels; see the module.
        min_area: components with fewer pixels are left out.

    Returns:
        The components; none overlaps another.
    """
    if iterations is None:
        left, top, width, height = cv2.boundingRect(candidates.view(np.uint8))
        inside = candidates[top : top + height, left : left + width].astype(np.uint8)
        if inside.size == 0:
            return []
        # By area, then by the box, so that the order does not hang on OpenCV's labelling algorithm.
        sized = sorted((-c.area, c.y, c.x, label, c) for label, c in _outlined(inside, left, top))
        return [component for size, *_, component in sized if -size >= min_area][:number]
    labels = _propagate(candidates, iterations)
    areas = np.bincount(labels.ravel())
    order = 1 + np.argsort(-areas[1:], kind="stable")
    found = []
    for label in [i for i in order if areas[i] >= min_area][:number]:
        x, y, width, height = cv2.boundingRect((labels == label).astype(np.uint8))
        found.append(Component(x, y, labels[y : y + height, x : x + width] == label))
    return found


def around_peak(component: Component, score: np.ndarray, share: float) -> Component:
    """The part of a component whose score comes close to the component's own peak.

    A network's answer fades out around an object over some cells of its masks. How far a fixed level reaches there
    depends on how sure the network is; a share of the peak does not.

    Args:
        component: of an unknown object.
        score: float32 [H, W] in [0, 1], the maps in which it was found.
        share: of the peak's log-odds that a pixel must have, in [0, 1]; 0 keeps the component as it is, and so does a
            peak of 0.5 or less. The peak is the score that a tenth of the pixels reach.

    Returns:
        The component, or what is left of it, which may have several parts.
    """
    if share == 0:
        return component
    peak = min(peak_of(score[component.window][component.mask]), _SUREST)
    if peak <= 0.5:
        return component
    # No more than the peak itself, whatever rounding makes of it: something is always left.
    level = min(peak, 1 / (1 + ((1 - peak) / peak) ** share))
    return component_of(component.mask & (score[component.window] >= level), component.x, component.y)


def component_of(mask: np.ndarray, x: int, y: int) -> Component:
    """A mask, bool [h, w] and True somewhere, whose first pixel is at (x, y), in its bounding box."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return Component(x + left, y + top, mask[top : top + height, left : left + width])


def apart(components: list[Component], taken: list[Component], size: tuple[int, int]) -> list[Component]:
    """The components without what others [H, W] have taken; those that lose more than half are left out."""
    if not components:
        return []
    is_taken = np.zeros(size, bool)
    for component in taken:
        is_taken[component.window] |= component.mask
    masks = [component.mask & ~is_taken[component.window] for component in components]
    return [
        component_of(mask, component.x, component.y)
        for component, mask in zip(components, masks, strict=True)
        if 2 * np.count_nonzero(mask) >= component.area
    ]


def peak_of(values: np.ndarray) -> float:
    """What a tenth of the values, float [N], reach."""
    place = int(_PEAK * (values.size - 1))
    # Twenty times as fast as NumPy's quantile, of which every object of every frame would take one.
    return float(np.partition(values, place)[place])


def log_odds_of(score: np.ndarray) -> np.ndarray:
    """float32 log(s / (1 - s)) of scores in [0, 1], those of almost 0 and 1 finite."""
    clipped = np.clip(score, 1 - _SUREST, _SUREST)
    odds: np.ndarray = np.log(clipped / (1 - clipped))
    return odds


def _outlined(mask: np.ndarray, left: int, top: int) -> Iterator[tuple[int, Component]]:
    """The 8-connected components of a mask, uint8 [H, W], that lies at (left, top), each with its label.

    Outlines tell the boxes: labels and outlines together take a third of the time of OpenCV's statistics.
    """
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for outline, (*_, around) in zip(outlines, [] if tree is None else tree[0], strict=True):
        if around >= 0:
            continue  # The edge of a hole.
        label = labels[outline[0, 0, 1], outline[0, 0, 0]]
        x, y, width, height = cv2.boundingRect(outline)
        yield int(label), Component(left + x, top + y, labels[y : y + height, x : x + width] == label)


def largest_component(mask: np.ndarray) -> np.ndarray | None:
    """The 8-connected component of the most pixels.

    Args:
        mask: uint8 [H, W].

    Returns:
        bool [H, W]; None where the mask is empty.
    """
    # Counting labels takes a third of the time of OpenCV's statistics.
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    if count < 2:
        return None
    largest: np.ndarray = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    return largest


def _propagate(candidates: np.ndarray, iterations: int) -> np.ndarray:
    """Labels from 1 on after rounds of 3x3 maximum of the pixels' numbers inside the mask; 0 outside."""
    highest = np.arange(1, candidates.size + 1, dtype=np.float64).reshape(candidates.shape) * candidates
    kernel = np.ones((3, 3), np.uint8)
    for _ in range(iterations):
        grown = cv2.dilate(highest, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) * candidates
        if np.array_equal(grown, highest):
            break
        highest = grown
    labels = np.zeros(candidates.shape, np.int64)
    labels[candidates] = 1 + np.unique(highest[candidates], return_inverse=True)[1]
    return labels
