"""Fitting an image of any size into the network's input and bringing maps back: one contract for all back ends.

Normalisation is inside the exported graph (``m2a_core.export``); this module works on uint8 RGB alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.errors import ConfigError
from m2a_core.resize import resized
from m2a_core.types import check_array

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""RGB mean on 0..255 that the backbones were trained with."""

IMAGENET_STD = (58.395, 57.12, 57.375)
"""RGB standard deviation on 0..255 that the backbones were trained with."""

PADDING_COLOR = (124, 116, 104)
"""The mean in whole numbers: what a padded pixel holds before normalisation (about 0 after it)."""


@dataclass(frozen=True)
class Geometry:
    """How an image lies in the network's input: scaled, top-left, padded right and below.

    Attributes:
        original: height and width of the image, in pixels.
        valid: height and width of the scaled image inside the input, in pixels.
        scale: y and x factors, ``valid / original``.
    """

    original: tuple[int, int]
    valid: tuple[int, int]
    scale: tuple[float, float]

    def at(self, size: tuple[int, int]) -> Geometry:
        """The same view for maps of another height and width than the image's."""
        height, width = size
        return Geometry(size, self.valid, (self.valid[0] / height, self.valid[1] / width))

    def undo_continuous(self, values: np.ndarray) -> np.ndarray:
        """Bring a map at the network's input size back to the image: crop the padding, resize bilinearly.

        Args:
            values: float32 [H, W].

        Returns:
            float32 [H0, W0].
        """
        valid = values[: self.valid[0], : self.valid[1]]
        if self.valid == self.original:
            return np.ascontiguousarray(valid)
        resized: np.ndarray = cv2.resize(valid, self.original[::-1], interpolation=cv2.INTER_LINEAR)
        return resized

    def undo_labels(
        self,
        ids: np.ndarray,
        stride: int = 1,
        window: tuple[slice, slice] | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Bring an id map back to the image: every pixel takes the id under its centre, no id is made up.

        Args:
            ids: any dtype [H / stride, W / stride].
            stride: input pixels per map pixel, e.g. 4 for the masks.
            window: rows and columns of the image that are wanted; None for all.
            out: where to write them, of the same dtype; None for a new array.

        Returns:
            The same dtype, [H0, W0], or the window of it.
        """
        spans = window or (slice(0, self.original[0]), slice(0, self.original[1]))
        if stride == 1 and self.valid == self.original:
            same = ids[: self.valid[0], : self.valid[1]][spans]
            if out is None:
                return np.ascontiguousarray(same)
            out[:] = same
            return out
        # In whole numbers: a centre on the border of two cells must not depend on rounding.
        rows, cols = (
            np.minimum((2 * np.arange(span.start, span.stop) + 1) * valid // (2 * n * stride), size - 1)
            for span, n, valid, size in zip(spans, self.original, self.valid, ids.shape, strict=True)
        )
        # Columns first: they are gathered one by one, from the few rows that are looked at; rows are copied whole.
        # No index is out of range; with "clip" NumPy needs no copy of the output to find that out.
        first, stop = (rows[0], rows[-1] + 1) if rows.size else (0, 1)
        labels: np.ndarray = np.take(_columns(ids[first:stop], cols), rows - first, axis=0, out=out, mode="clip")
        return labels


def _columns(ids: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """``ids[:, cols]``, contiguous; single bytes in a quarter of the time as rows of the map turned over."""
    if ids.dtype != np.uint8:
        return np.take(ids, cols, axis=1)
    gathered: np.ndarray = cv2.transpose(np.take(cv2.transpose(ids), cols, axis=0))
    return gathered


class Letterbox:
    """Fits images into ``input_size`` = (H, W), keeping their aspect ratio.

    Raises:
        ConfigError: a side of ``input_size`` is below 1.
    """

    def __init__(self, input_size: tuple[int, int]) -> None:
        """Remember the size to fit into."""
        if len(input_size) != 2 or min(input_size) < 1:
            raise ConfigError(f"input size {input_size}: expected height and width of at least 1 pixel")
        self.input_size = (int(input_size[0]), int(input_size[1]))

    def geometry(self, height: int, width: int) -> Geometry:
        """The geometry that ``apply`` gives images of this height and width."""
        factor = min(self.input_size[0] / height, self.input_size[1] / width)
        valid_h = min(self.input_size[0], max(1, round(height * factor)))
        valid_w = min(self.input_size[1], max(1, round(width * factor)))
        return Geometry((height, width), (valid_h, valid_w), (valid_h / height, valid_w / width))

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Scale and pad an image.

        Args:
            image: uint8 [H0, W0, 3], RGB.

        Returns:
            uint8 [H, W, 3] at the input size, contiguous, and the geometry that undoes it. An image that already
            has the input size is not copied.

        Raises:
            DataError: the image is not uint8 [H0, W0, 3].
        """
        check_array("image", image, np.uint8, (None, None, 3))
        geometry = self.geometry(image.shape[0], image.shape[1])
        return self.fit(image, geometry.valid), geometry

    def fit(self, image: np.ndarray, valid: tuple[int, int]) -> np.ndarray:
        """Scale an image to a given height and width, and pad it.

        Args:
            image: uint8 [H0, W0, 3].
            valid: height and width, at most the input size.

        Returns:
            uint8 [H, W, 3] at the input size, contiguous; the image itself where nothing is to be done.
        """
        if valid != image.shape[:2]:
            image = resized(image, valid)
        if valid == self.input_size:
            return np.ascontiguousarray(image)
        padded = np.empty((*self.input_size, 3), np.uint8)
        height, width = valid
        padded[:height, :width], padded[:height, width:], padded[height:] = image, PADDING_COLOR, PADDING_COLOR
        return padded
