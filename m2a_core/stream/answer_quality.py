"""Whether a network's answers can be trusted: masks that are all zero, and the same answer to different images.

Scores that are NaN or infinite, as half precision gives where it overflows, never come here:
``m2a_core.contract.network_output.require_finite`` refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2a_core.contract.network_output import NetworkOutput

NO_MASKS, FROZEN_NETWORK = "no_masks", "frozen_network"

REPEATS = 5
"""Answers in a row that must be identical."""

_CHANGED = 2.0
"""Mean difference of two thumbnails, grey levels, from which they show different things."""
_WIDTH, _STEP = 32, 16


class AnswerQuality:
    """Judges the answers to one camera's images, one after the other."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._thumbnail: np.ndarray | None = None
        self._answer = b""
        self._same = 0

    def judge(self, image: np.ndarray, outputs: Sequence[NetworkOutput]) -> str:
        """What is wrong with an answer; empty where nothing is seen.

        Args:
            image: uint8 [H, W, 3], RGB.
            outputs: the network's, that for the whole image first.

        Returns:
            ``frozen_network`` where the last ``REPEATS`` answers are identical though each image differs from the one
            before; ``no_masks`` where no query claims a pixel.
        """
        if not outputs:
            return ""
        step = max(1, image.shape[1] // _WIDTH)
        thumbnail, answer = image[::step, ::step, 1].astype(np.int16), _fingerprint(outputs[0])
        is_same = answer == self._answer and self._thumbnail is not None and _differ(self._thumbnail, thumbnail)
        self._thumbnail, self._answer, self._same = thumbnail, answer, self._same + 1 if is_same else 0
        if self._same >= REPEATS - 1:
            return FROZEN_NETWORK
        return "" if outputs[0].query_masks.any() else NO_MASKS


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape != other.shape or float(np.abs(one - other).mean()) > _CHANGED


def _fingerprint(output: NetworkOutput) -> bytes:
    maps = (output.anomaly, output.background, output.semantic)
    return b"".join(values[::_STEP, ::_STEP].tobytes() for values in maps) + output.class_probs.tobytes()
