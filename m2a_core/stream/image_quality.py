"""Whether an image can be trusted: black, dark, saturated, covered, noisy, blurred or frozen pictures are told.

A network answers on any image. Its answer on a black one is not a map of the road, and nothing in the map shows that.
The checks look at a thumbnail and at a few patches of full resolution; they cost a fraction of a millisecond.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import cv2
import numpy as np

BLACK, DARK, SATURATED, COVERED, NOISY, BLURRED, FROZEN = (
    "black",
    "dark",
    "saturated",
    "covered",
    "noisy",
    "blurred",
    "frozen",
)
BLIND = frozenset({BLACK, SATURATED, COVERED})
"""With these the camera shows nothing of the scene."""

_THUMBNAIL = (128, 96)
_SAMPLES = 2
"""Places of a large image for one pixel of the thumbnail, by side; each is the mean of the four pixels around it."""
_BLOCK = 16
"""Pixels of the thumbnail: a cover is told by blocks that show nothing, wherever it lies."""
_WHITE = 245.0
"""Grey levels: a block above is sky or sun, and no cover."""
_BLACK_BLOCK = 16.0
"""Grey levels: a dark cover may be of one value, clipped by the camera."""
_LEAST_CONTRAST = 24.0
"""Grey levels: a patch of less says nothing of sharpness."""
_PATCH, _GRID = 64, 3
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Immerkaer, "Fast noise variance estimation", CVIU 1996: blind to edges, sees noise."""


@dataclass(frozen=True)
class QualityLimits:
    """From where on a picture counts as degraded; chosen by ``benchmarks/degraded.py``.

    Attributes:
        black: the brightest percent of the thumbnail, grey levels, below which a picture is black.
        dark: the brightest tenth of the thumbnail, grey levels, below which there is too little light.
        saturated: share of the thumbnail at 250 or more.
        covered: standard deviation of the thumbnail, grey levels.
        covered_contrast: the same as a share of the thumbnail's mean.
        blank: gradient, grey levels a pixel of the thumbnail, that nine tenths of a block without texture keep to.
        covered_blocks: share of the picture's blocks that are blank.
        noisy: sigma of the noise, grey levels, the least of all patches.
        blurred: sharpness: the largest gradient between neighbouring pixels, as a share of the contrast around it.
        frozen_s: seconds over which pictures are equal, in every fourth pixel of every fourth row.
    """

    black: float = 24.0
    dark: float = 52.0
    saturated: float = 0.6
    covered: float = 10.0
    covered_contrast: float = 0.25
    blank: float = 1.2
    covered_blocks: float = 0.25
    noisy: float = 5.0
    blurred: float = 0.25
    frozen_s: float = 3.0


LIMITS = QualityLimits()
_FINER_NS = 500_000_000
"""A picture that seems to stand still is looked at closely so often: it takes as long as all other checks."""


class ImageQuality:
    """Judges the images of one camera, one after the other."""

    def __init__(self, limits: QualityLimits = LIMITS) -> None:
        """Start with nothing seen."""
        self._limits = limits
        self._print: int | None = None
        self._finer_print: int | None = None
        self._looked_ns = 0
        self._same_since_ns = 0

    def judge(self, image: np.ndarray, stamp_ns: int) -> str:
        """What is wrong with an image; empty where nothing is seen.

        Args:
            image: uint8 [H, W, 3], RGB.
            stamp_ns: when it was taken, nanoseconds; equal pictures are frozen by their stamps.
        """
        found = degradation(image, self._limits)
        fingerprint = _print_of(image, 16)
        if fingerprint != self._print or stamp_ns < self._same_since_ns:
            self._print, self._finer_print, self._same_since_ns = fingerprint, None, stamp_ns
            self._looked_ns = stamp_ns
            return found
        # What moves may be smaller than the gaps between the pixels that tell most pictures apart.
        if self._finer_print is None or stamp_ns - self._looked_ns >= _FINER_NS:
            before, self._finer_print, self._looked_ns = self._finer_print, _print_of(image, 4), stamp_ns
            if before not in (None, self._finer_print):
                self._same_since_ns = stamp_ns
        if not found and stamp_ns - self._same_since_ns >= 1e9 * self._limits.frozen_s:
            return FROZEN
        return found


def _print_of(image: np.ndarray, step: int) -> int:
    """Equal for equal pictures; of every so many pixels of every so many rows."""
    return zlib.crc32(np.ascontiguousarray(image[::step, ::step]))


def degradation(image: np.ndarray, limits: QualityLimits = LIMITS) -> str:
    """What is wrong with one image alone; empty where nothing is seen.

    Args:
        image: uint8 [H, W, 3], RGB.
        limits: from where on it counts.
    """
    thumbnail = _thumbnail(image)
    brightest, bright, middle = percentiles(thumbnail, 99, 90, 50)
    if brightest < limits.black:
        return BLACK
    if np.count_nonzero(thumbnail >= 250) > limits.saturated * thumbnail.size:
        return SATURATED
    # Little light makes little contrast too, but keeps its share of the brightness.
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(thumbnail))
    if deviation < min(limits.covered, limits.covered_contrast * mean):
        return COVERED
    if bright < limits.dark:
        return DARK
    if min(image.shape[:2]) >= _THUMBNAIL[1] and blank_share(thumbnail, limits.blank, middle) > limits.covered_blocks:
        return COVERED
    if min(image.shape[:2]) < _PATCH:
        return ""
    # One patch that is as it should be decides, as a rule the first.
    if all(noise_sigma(patch) > limits.noisy for patch in _patches(image)):
        return NOISY
    if all(sharpness(patch) < limits.blurred for patch in _patches(image)):
        return BLURRED
    return ""


def blank_share(thumbnail: np.ndarray, limit: float, middle: float) -> float:
    """Share of a thumbnail's blocks, uint8 [96, 128], that show nothing of a scene, as under a cover on the lens.

    Not counted are white blocks, what is bright and without texture from the upper edge on (a clear sky), and blocks of
    exactly one colour that is not black, which no camera takes (a simulator's or a test's picture).

    Args:
        thumbnail: uint8 [96, 128].
        limit: see ``QualityLimits.blank``.
        middle: the thumbnail's median, above which is bright.
    """
    grey = thumbnail.astype(np.float32)
    steps = cv2.magnitude(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    )
    smooth = (_blocks(steps) < limit).mean(-1) >= 0.9
    if not smooth.any():
        return 0.0
    blocks = _blocks(grey)
    level = blocks.mean(-1)
    drawn = (np.ptp(blocks, axis=-1) == 0) & (level > _BLACK_BLOCK)
    blank = smooth & (level < _WHITE) & ~drawn
    sky = np.logical_and.accumulate(blank & (level > middle), axis=0)
    return float((blank & ~sky).mean())


def _blocks(values: np.ndarray) -> np.ndarray:
    """A thumbnail's values by blocks, [rows of blocks, columns, values of a block]."""
    rows, cols = values.shape[0] // _BLOCK, values.shape[1] // _BLOCK
    return values.reshape(rows, _BLOCK, cols, _BLOCK).swapaxes(1, 2).reshape(rows, cols, -1)


def noise_sigma(grey: np.ndarray) -> float:
    """Standard deviation of the noise of a patch float32 [H, W], grey levels (Immerkaer 1996)."""
    response = cv2.filter2D(grey, cv2.CV_32F, _LAPLACIAN)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * cv2.norm(response, cv2.NORM_L1) / response.size)


def sharpness(grey: np.ndarray) -> float:
    """Steepest step between neighbouring pixels over the range of a patch float32 [H, W]: 0 flat, 1 a perfect edge."""
    low, high, *_ = cv2.minMaxLoc(grey)
    if high - low < _LEAST_CONTRAST:
        return 0.0
    steps = (cv2.norm(grey[1:], grey[:-1], cv2.NORM_INF), cv2.norm(grey[:, 1:], grey[:, :-1], cv2.NORM_INF))
    return float(max(steps) / (high - low))


def percentiles(grey: np.ndarray, *percents: float) -> list[float]:
    """What ``np.percentile`` gives of uint8 values, in a small part of its time."""
    up_to = cv2.calcHist([grey], [0], None, [256], [0, 256]).cumsum(dtype=np.int64).tolist()
    found = []
    for percent in percents:
        rank, rest = divmod(percent * (grey.size - 1), 100)
        low, high = bisect_right(up_to, rank), bisect_right(up_to, rank + 1)
        found.append(float(low + rest / 100 * (high - low)))
    return found


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """The picture in small and grey, uint8, of large images from some of their pixels: all of 1080p take 5 ms."""
    # A view of BGR pixels as RGB; OpenCV would copy all of it.
    is_turned = image.strides[-1] < 0
    image = image[..., ::-1] if is_turned else image
    width, height = _SAMPLES * _THUMBNAIL[0], _SAMPLES * _THUMBNAIL[1]
    if image.shape[0] > height and image.shape[1] > width:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    grey: np.ndarray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY if is_turned else cv2.COLOR_RGB2GRAY)
    return grey


def _patches(image: np.ndarray) -> Iterator[np.ndarray]:
    """Patches of full resolution, evenly spread, float32 and grey."""
    for y, x in _corners(image.shape[0], image.shape[1]):
        yield cv2.cvtColor(image[y : y + _PATCH, x : x + _PATCH], cv2.COLOR_RGB2GRAY).astype(np.float32)


@lru_cache(maxsize=8)
def _corners(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Where the patches of an image of this size begin: y, x."""
    rows, cols = (np.linspace(0, side - _PATCH, _GRID).astype(int).tolist() for side in (height, width))
    return tuple(product(rows, cols))
