"""Outlines of small unknown objects by the image's own colors. Ours, not in the paper.

The masks of the network have a quarter of its input's size. A small object covers a cell or two of them, and where it
ends only the image says. One step of GrabCut (Rother et al., SIGGRAPH 2004) without its graph: normal distributions are
fitted to the colors inside the object and to those around its upper and its lower half; a pixel near the object belongs
to it where the log of their ratio and the closeness of its score to the object's peak add up to more than zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from m2a_core.openset.components import Component, component_of, log_odds_of, peak_of
from m2a_core.preprocess import Geometry

MOST = 16
"""Objects of a frame whose outlines are drawn by colors, so that a frame full of false alarms costs no more."""

_REACH = 8
"""Pixels that an outline may move: two cells of the masks."""

_GAP = 2
"""Pixels around an object whose colors are neither its own nor its surrounding's."""

_GAP_KERNEL = np.ones((2 * _GAP + 1, 2 * _GAP + 1), np.uint8)

_LEAST_AROUND = 20
"""Pixels around an object, above or below its middle, that there must be to tell their colors."""

_LEAST = 6
"""Pixels that an outline must hold, and ..."""

_LEAST_KEPT = 0.2
"""... the share of the object that it must keep: less is another object."""

_MOST_SAID = 4.0
"""The most that colors may say for or against a pixel, as a log of a ratio of likelihoods: a normal distribution is a
rough guess, and its tails are wrong."""

_PER_PEAK = 2.0
"""What the score says for a pixel per peak of log-odds above half of the peak; anything from 1.8 to 3.2 does."""

_RAISED, _LOWERED = 0.5, 0.25
"""Shares of what colors say that move the log-odds of the score inside and outside of an outline: a part that was taken
for the surrounding must not be lost."""

NOISE = 25.0
"""Variance that every color has, in squared grey levels: JPEG and the sensor see to it."""

ANY_COLOR = -3 * math.log(128)
"""Log of the least density of a color inside an object, which may have parts of any color: legs, wheels, prints."""


def outline_by_color(
    components: Sequence[Component],
    score: np.ndarray,
    image: np.ndarray,
    geometry: Geometry,
    largest: int,
    taken: Sequence[Component] = (),
) -> ColorOutlines:
    """Draw the outlines of small objects anew.

    Args:
        components: unknown objects, disjoint, found in the valid area; with ``taken`` at most 255.
        score: float32 [H, W] in [0, 1], the maps in which they were found.
        image: uint8 [H0, W0, 3], the image itself, its channels in any order.
        geometry: how the image lies in the maps.
        largest: pixels of the largest object, in the maps, whose outline is drawn.
        taken: other objects, disjoint from these, into which no outline may reach.

    Returns:
        The components in the same order, disjoint. An object is left as it is where colors do not tell it from what is
        around it, and beyond the first ``MOST`` small ones.
    """
    small = [n for n, component in enumerate(components, start=1) if component.area <= largest][:MOST]
    found: list[Component] = list(components)
    drawn: list[tuple[_Near, np.ndarray]] = []
    if not small:
        return ColorOutlines(found)
    numbers = np.zeros(geometry.valid, np.uint8)
    for number, component in enumerate(components, start=1):
        numbers[component.window][component.mask] = number
    for component in taken:
        numbers[component.window][component.mask] = len(components) + 1
    for number in small:
        old = components[number - 1]
        near = _near(old, number, numbers, score, image, geometry)
        mask = None if near is None else near.outline()
        if near is None or mask is None:
            continue
        new = component_of(mask, near.cols.start, near.rows.start)
        numbers[old.window][old.mask] = 0
        numbers[new.window][new.mask] = number
        found[number - 1] = new
        drawn.append((near, mask))
    return ColorOutlines(found, drawn, numbers)


@dataclass(frozen=True)
class ColorOutlines:
    """What `outline_by_color` gives.

    Attributes:
        components: the objects.
    """

    components: list[Component]
    _drawn: Sequence[tuple[_Near, np.ndarray]] = ()
    _numbers: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def sharpened(self, score: np.ndarray) -> np.ndarray:
        """The score higher inside of new outlines and lower around them: a copy of its valid area; see ``score``.

        Args:
            score: float32 [H, W] in [0, 1], in which the objects were found; it is given back where nothing was drawn.
        """
        if not self._drawn:
            return score
        height, width = self._numbers.shape
        moved = score[:height, :width].copy()
        for near, outline in self._drawn:
            near.sharpen(moved, outline, self._numbers[near.rows, near.cols] == 0)
        return moved


@dataclass(frozen=True)
class _Near:
    """An object and what is near it; maps are [h, w], those of ``rows`` and ``cols``.

    Attributes:
        rows: of the score's maps.
        cols: of the score's maps.
        own: bool, the object.
        free: bool, where no other object is.
        log_odds: float32, of the score.
        closeness: float32 in [-0.5, 0.5], of the log-odds to the object's peak: 0 at half of it.
        ratio: float32, what colors say for the object.
    """

    rows: slice
    cols: slice
    own: np.ndarray
    free: np.ndarray
    log_odds: np.ndarray
    closeness: np.ndarray
    ratio: np.ndarray

    def outline(self) -> np.ndarray | None:
        """The object by its colors, bool [h, w]; None where they do not say enough."""
        said = self.ratio + _PER_PEAK * self.closeness
        # Of several parts, the one that holds most of the object.
        _, labels = cv2.connectedComponents(((said > 0) & self.free).view(np.uint8), connectivity=8)
        sizes = np.bincount(labels[self.own])
        sizes[0] = 0
        label = int(sizes.argmax())
        if sizes[label] < max(1, _LEAST_KEPT * np.count_nonzero(self.own)):
            return None
        mask: np.ndarray = labels == label
        return mask if np.count_nonzero(mask) >= _LEAST else None

    def sharpen(self, score: np.ndarray, outline: np.ndarray, outside: np.ndarray) -> None:
        """Let colors raise a score [H, W] inside of the outline and lower it outside of all objects, in place."""
        raised, lowered = outline & (self.ratio > 0), outside & (self.ratio < 0)
        moved = 1 / (1 + np.exp(-self.log_odds - np.where(outline, _RAISED, _LOWERED) * self.ratio))
        part = score[self.rows, self.cols]
        np.copyto(part, np.maximum(part, moved), where=raised)
        np.copyto(part, np.minimum(part, moved), where=lowered)


def _near(
    component: Component, number: int, numbers: np.ndarray, score: np.ndarray, image: np.ndarray, geometry: Geometry
) -> _Near | None:
    """What colors say near a component; None where they cannot say anything."""
    rows, cols = (
        slice(max(0, span.start - _REACH), min(limit, span.stop + _REACH))
        for span, limit in zip(component.window, geometry.valid, strict=True)
    )
    own, others = numbers[rows, cols] == number, numbers[rows, cols] == 0
    log_odds = log_odds_of(score[rows, cols])
    peak = peak_of(log_odds[own]) if own.any() else 0.0
    if peak <= 0:
        return None
    # Nothing is said at half of the peak, where an outline by the score alone would be.
    closeness = np.clip(log_odds / peak - 0.5, -0.5, 0.5)
    surest = closeness[own]
    inside = own & (closeness >= np.partition(surest, surest.size // 2)[surest.size // 2])
    around = others & (cv2.dilate(own.view(np.uint8), _GAP_KERNEL) == 0)
    middle = (component.window[0].start + component.window[0].stop) // 2 - rows.start
    ratio = _log_ratio(part_of(image, geometry, rows, cols), inside, around, middle)
    if ratio is None:
        return None
    return _Near(rows, cols, own, own | others, log_odds, closeness, np.clip(ratio, -_MOST_SAID, _MOST_SAID))


def part_of(image: np.ndarray, geometry: Geometry, rows: slice, cols: slice) -> np.ndarray:
    """A window of the maps as the image shows it, float32 [h, w, 3]."""
    (scale_y, scale_x), size = geometry.scale, (cols.stop - cols.start, rows.stop - rows.start)
    if scale_y > 1:
        # Whole pixels of a small image are too coarse to cut at.
        places = np.array(
            [
                [1 / scale_x, 0, (cols.start + 0.5) / scale_x - 0.5],
                [0, 1 / scale_y, (rows.start + 0.5) / scale_y - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped: np.ndarray = cv2.warpAffine(image, places, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return warped.astype(np.float32)
    (top, bottom), (left, right) = (
        (int(span.start / scale), min(limit, max(int(span.start / scale) + 1, round(span.stop / scale))))
        for span, scale, limit in zip((rows, cols), geometry.scale, geometry.original, strict=True)
    )
    part = image[top:bottom, left:right]
    if part.shape[1::-1] != size:
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return part.astype(np.float32)


def _log_ratio(colors: np.ndarray, inside: np.ndarray, around: np.ndarray, middle: int) -> np.ndarray | None:
    """Log of how much likelier each color is inside than around; None where too little is around.

    What an object stands on looks unlike what is behind it, so rows above and from ``middle`` have a surrounding each.
    """
    halves = [
        half for half in (slice(0, middle), slice(middle, None)) if np.count_nonzero(around[half]) >= _LEAST_AROUND
    ]
    if not halves:
        return None
    if len(halves) == 1:
        halves = [slice(None)]
    ratio: np.ndarray = np.maximum(fit_normal(colors[inside]).log_density(colors), ANY_COLOR)
    for half in halves:
        ratio[half] -= fit_normal(colors[half][around[half]]).log_density(colors[half])
    return ratio


@dataclass(frozen=True)
class Normal:
    """A normal distribution of colors.

    Attributes:
        whiten: float64 [3, 4]: of a color and 1 it makes numbers whose squares add up to the Mahalanobis distance.
        constant: log of the density at the mean.
    """

    whiten: np.ndarray
    constant: float

    def log_density(self, colors: np.ndarray) -> np.ndarray:
        """Log of the density of each color, float32 [h, w, 3]: float32 [h, w]."""
        whitened = cv2.transform(colors, self.whiten)
        cv2.multiply(whitened, whitened, whitened)
        density: np.ndarray = cv2.transform(whitened, np.array([[-0.5, -0.5, -0.5, self.constant]]))
        return density


def fit_normal(seen: np.ndarray) -> Normal:
    """The normal distribution of some colors, float32 [N, 3], N >= 1, its covariance widened by ``NOISE``."""
    flags = cv2.COVAR_NORMAL | cv2.COVAR_ROWS | cv2.COVAR_SCALE
    covariance, mean = cv2.calcCovarMatrix(seen, None, flags, ctype=cv2.CV_64F)
    (c00, _, _), (c10, c11, _), (c20, c21, c22) = covariance.tolist()
    # Cholesky's root and its inverse written out: for 3 x 3 numbers NumPy's calls take ten times as long.
    r00 = math.sqrt(c00 + NOISE)
    r10, r20 = c10 / r00, c20 / r00
    r11 = math.sqrt(c11 + NOISE - r10**2)
    r21 = (c21 - r20 * r10) / r11
    r22 = math.sqrt(c22 + NOISE - r20**2 - r21**2)
    w10, w21 = -r10 / (r00 * r11), -r21 / (r11 * r22)
    w20 = (r10 * r21 - r20 * r11) / (r00 * r11 * r22)
    m0, m1, m2 = mean[0].tolist()
    rows = ((1 / r00, 0.0, 0.0), (w10, 1 / r11, 0.0), (w20, w21, 1 / r22))
    whiten = np.array([(*row, -(row[0] * m0 + row[1] * m1 + row[2] * m2)) for row in rows])
    return Normal(whiten, -1.5 * math.log(2 * math.pi) - math.log(r00 * r11 * r22))
