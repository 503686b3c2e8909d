"""The image that a bundle's graph takes, where that is a camera's own and not a letterboxed one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m2a_core.errors import ConfigError, DataError

ENCODINGS = ("rgb8", "bgr8")


@dataclass(frozen=True)
class CameraImage:
    """What a graph with the letterbox in it is made for.

    Attributes:
        size: H, W of the image, in pixels.
        encoding: ``rgb8`` or ``bgr8``.
        threshold: from which the score of a pixel is unknown in the graph's own open-set mask.

    Raises:
        ConfigError: a value is outside its range.
    """

    size: tuple[int, int]
    encoding: str
    threshold: float

    def __post_init__(self) -> None:
        """Validate."""
        if min(self.size) < 1 or self.encoding not in ENCODINGS or not math.isfinite(self.threshold):
            raise ConfigError(
                f"camera: expected a size of at least 1 pixel, an encoding among {', '.join(ENCODINGS)} and a finite "
                f"threshold, got {self}"
            )

    def of(self, rgb: np.ndarray) -> np.ndarray:
        """An image as the graph takes it.

        Args:
            rgb: uint8 [H, W, 3], RGB; one that is a view of BGR pixels is not copied for ``bgr8``.

        Returns:
            uint8 [H, W, 3], contiguous.

        Raises:
            DataError: the image has another size.
        """
        if rgb.shape[:2] != self.size:
            (height, width), (rows, columns) = self.size, rgb.shape[:2]
            raise DataError(
                f"image is {columns}x{rows}, but the model's graph takes a camera's images of {width}x{height} only "
                "(uncropped): name a model without the letterbox in its graph, or export one for this size with "
                "`m2a export --camera`"
            )
        return np.ascontiguousarray(rgb if self.encoding == ENCODINGS[0] else rgb[..., ::-1])
