"""Maps of the network's own size brought to the image's, into memory that the caller has."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.preprocess import Geometry
from m2a_core.types import OpenSetResult


class Enlargement:
    """Gives what ``OpenSetHead`` gives at another size, from its maps at the network's own.

    Attributes:
        size: height, width.
        mask: the open-set mask that is taken as it is, or None.
    """

    def __init__(
        self, size: tuple[int, int], threshold: float, unknown_id: int, mask: np.ndarray | None = None
    ) -> None:
        """Set up.

        Args:
            size: height, width to bring maps to.
            threshold: of the open-set mask.
            unknown_id: class id of unknown pixels.
            mask: the open-set mask, uint8 of that size, where somebody else has made it already.
        """
        self.size, self.mask = size, mask
        self._threshold, self._unknown_id = threshold, unknown_id

    def to(self, size: tuple[int, int]) -> Enlargement:
        """The same to another size, without ``mask``."""
        return Enlargement(size, self._threshold, self._unknown_id)

    def scores(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A score map, bilinearly.

        Args:
            values: float32 [h, w].
            out: float32 [H, W] to write to; None for a new one.
        """
        found = np.empty(self.size, np.float32) if out is None else out
        cv2.resize(values, self.size[::-1], dst=found, interpolation=cv2.INTER_LINEAR)
        return found

    def ids(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A map of ids, each pixel with that under its centre.

        Args:
            values: of ids, [h, w], all of which ``out`` can hold.
            out: [H, W] to write to; None for a new one of the same dtype.
        """
        found = np.empty(self.size, values.dtype) if out is None else out
        height, width = values.shape
        geometry = Geometry(self.size, (height, width), (height / self.size[0], width / self.size[1]))
        values = values.astype(found.dtype, copy=False)
        x, y, columns, rows = cv2.boundingRect((values != 0).view(np.uint8))
        if 2 * rows * columns > values.size:
            geometry.undo_labels(values, out=found)
            return found
        # Few objects in much of nothing.
        found.fill(0)
        if rows:
            down, across = self.size
            window = (
                slice(y * down // height, -(-(y + rows) * down // height)),
                slice(x * across // width, -(-(x + columns) * across // width)),
            )
            found[window] = geometry.undo_labels(values, window=window)
        return found

    def open_set(self, result: OpenSetResult, scores: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The open-set mask (Eq. 16).

        Args:
            result: with ``score`` and ``semantic``.
            scores: its score as ``scores`` gives it, float32 [H, W]; not read where there is a ``mask``.
            out: uint8 [H, W] to write to; None for a new one.
        """
        if self.mask is not None:
            found = np.empty(self.size, np.uint8) if out is None else out
            np.copyto(found, self.mask)
            return found
        assert result.score is not None
        assert result.semantic is not None
        found = self.ids(result.semantic, out)
        # Between two pixels that do not reach the threshold, none does.
        rows = np.flatnonzero((result.score >= self._threshold).any(axis=1))
        if rows.size:
            scale = self.size[0] / len(result.score)
            near = slice(max(0, int((rows[0] - 1) * scale)), min(self.size[0], int((rows[-1] + 2) * scale) + 1))
            reached = (scores[near] >= self._threshold).view(np.uint8)
            cv2.copyTo(np.full_like(found[near], self._unknown_id), reached, found[near])
        return found
