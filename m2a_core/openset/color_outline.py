"""Outlines of small unknown objects by the image's own colors. Ours, not in the paper.

The masks of the network have a quarter of its input's size. A small object covers a cell or two of them, and where it
ends only the image says. One step of GrabCut (Rother et al., SIGGRAPH 2004) without its graph: a normal distribution is
fitted to the colors inside the object and one to those around it; a pixel near the object belongs to it where the log
of their ratio and the closeness of its score to the object's peak add up to more than zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from m2a_core.openset.components import Component, log_odds_of, peak_of
from m2a_core.preprocess import Geometry

MOST = 16
"""Objects of a frame whose outlines are drawn by colors, so that a frame full of false alarms costs no more."""

_REACH = 8
"""Pixels that an outline may move: two cells of the masks."""

_GAP = 2
"""Pixels around an object whose colors are neither its own nor its surrounding's."""

_GAP_KERNEL = np.ones((2 * _GAP + 1, 2 * _GAP + 1), np.uint8)

_LEAST_AROUND = 20
"""Pixels around an object that there must be to tell their colors."""

_LEAST = 6
"""Pixels that an outline must hold, and ..."""

_LEAST_KEPT = 0.2
"""... the share of the object that it must keep: less is another object."""

_MOST_SAID = 4.0
"""The most that colors may say for or against a pixel, as a log of a ratio of likelihoods: a normal distribution is a
rough guess, and its tails are wrong."""

_PER_PEAK = 2.0
"""What the score says for a pixel per peak of log-odds above half of the peak; anything from 1.8 to 3.2 does."""

NOISE = 25.0
"""Variance that every color has, in squared grey levels: JPEG and the sensor see to it."""

ANY_COLOR = -3 * math.log(128)
"""Log of the least density of a color inside an object, which may have parts of any color: legs, wheels, prints."""


def outline_by_color(
    components: Sequence[Component], score: np.ndarray, image: np.ndarray, geometry: Geometry, largest: int
) -> list[Component]:
    """Draw the outlines of small objects anew.

    Args:
        components: unknown objects, disjoint, found in the valid area; at most 255.
        score: float32 [H, W] in [0, 1], the maps in which they were found.
        image: uint8 [H0, W0, 3], the image itself, its channels in any order.
        geometry: how the image lies in the maps.
        largest: pixels of the largest object, in the maps, whose outline is drawn.

    Returns:
        The components in the same order, disjoint. An object is left as it is where colors do not tell it from what
        is around it, and beyond the first ``MOST`` small ones.
    """
    small = [n for n, component in enumerate(components, start=1) if component.area <= largest][:MOST]
    found = list(components)
    if not small:
        return found
    numbers = np.zeros(geometry.valid, np.uint8)
    for number, component in enumerate(components, start=1):
        numbers[component.window][component.mask] = number
    for number in small:
        old = components[number - 1]
        drawn = _drawn(old, number, numbers, score, image, geometry)
        if drawn is not None:
            numbers[old.window][old.mask] = 0
            numbers[drawn.window][drawn.mask] = number
            found[number - 1] = drawn
    return found


def _drawn(
    component: Component, number: int, numbers: np.ndarray, score: np.ndarray, image: np.ndarray, geometry: Geometry
) -> Component | None:
    """The component by its colors; None where they do not say enough."""
    rows, cols = (
        slice(max(0, span.start - _REACH), min(limit, span.stop + _REACH))
        for span, limit in zip(component.window, geometry.valid, strict=True)
    )
    near = numbers[rows, cols]
    own, others = near == number, near == 0
    around = others & (cv2.dilate(own.view(np.uint8), _GAP_KERNEL) == 0)
    log_odds = log_odds_of(score[rows, cols])
    peak = peak_of(log_odds[own])
    if peak <= 0 or np.count_nonzero(around) < _LEAST_AROUND:
        return None
    # Nothing is said at half of the peak, where an outline by the score alone would be.
    closeness = np.clip(log_odds / peak - 0.5, -0.5, 0.5)
    surest = closeness[own]
    inside = own & (closeness >= np.partition(surest, surest.size // 2)[surest.size // 2])
    colors = _part(image, geometry, rows, cols)
    said = np.clip(log_ratio(colors, inside, around), -_MOST_SAID, _MOST_SAID) + _PER_PEAK * closeness
    belongs = ((said > 0) & (own | others)).view(np.uint8)
    # Of several parts, the one that holds most of the object.
    _, labels = cv2.connectedComponents(belongs, connectivity=8)
    sizes = np.bincount(labels[own])
    sizes[0] = 0
    label = int(sizes.argmax())
    if sizes[label] < max(1, _LEAST_KEPT * surest.size):
        return None
    mask = labels == label
    if np.count_nonzero(mask) < _LEAST:
        return None
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return Component(cols.start + x, rows.start + y, mask[y : y + height, x : x + width])


def _part(image: np.ndarray, geometry: Geometry, rows: slice, cols: slice) -> np.ndarray:
    """A window of the maps as the image shows it, float32 [h, w, 3]."""
    (top, bottom), (left, right) = (
        (int(span.start / scale), min(limit, max(int(span.start / scale) + 1, round(span.stop / scale))))
        for span, scale, limit in zip((rows, cols), geometry.scale, geometry.original, strict=True)
    )
    part = image[top:bottom, left:right]
    size = (cols.stop - cols.start, rows.stop - rows.start)
    if part.shape[1::-1] != size:
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if geometry.scale[0] < 1 else cv2.INTER_LINEAR)
    return part.astype(np.float32)


def log_ratio(colors: np.ndarray, inside: np.ndarray, around: np.ndarray) -> np.ndarray:
    """How much likelier each color is inside than around.

    Args:
        colors: float32 [h, w, 3].
        inside: bool [h, w], pixels of the object.
        around: bool [h, w], pixels of what is around it.

    Returns:
        float32 [h, w], log of the ratio of two densities: those of normal distributions, of which ``NOISE`` is a part;
        inside, it is at least ``ANY_COLOR``.
    """
    whitenings, constants = [], []
    for where in (inside, around):
        covariance, mean = cv2.calcCovarMatrix(
            colors[where], None, cv2.COVAR_NORMAL | cv2.COVAR_ROWS | cv2.COVAR_SCALE, ctype=cv2.CV_64F
        )
        covariance += NOISE * np.eye(3)
        # Squares of what this makes of a color add up to its Mahalanobis distance.
        whiten = np.linalg.cholesky(np.linalg.inv(covariance)).T
        whitenings.append(np.hstack([whiten, -whiten @ mean.T]))
        constants.append(0.5 * (np.linalg.slogdet(covariance)[1] + 3 * math.log(2 * math.pi)))
    whitened = cv2.transform(colors, np.vstack(whitenings))
    sums = np.kron(np.eye(2), [-0.5] * 3)
    densities = cv2.transform(whitened * whitened, np.hstack([sums, -np.array(constants)[:, None]]))
    ratio: np.ndarray = np.maximum(densities[..., 0], ANY_COLOR) - densities[..., 1]
    return ratio
