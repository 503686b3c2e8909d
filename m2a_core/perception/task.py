"""A frame between the steps of perception, which may run on different threads."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from time import perf_counter

import numpy as np

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.types import OpenSetResult

Steps = Generator[Sequence[np.ndarray], Sequence[NetworkOutput], OpenSetResult]
"""Yields images for the network, uint8 [H, W, 3] each, is sent its outputs, and returns the result."""


class PerceptionTask:
    """A frame that the network has not seen yet, or whose answer nobody has looked at.

    Attributes:
        images: uint8 [H, W, 3] each, for the network.
        whole: the first of them, which shows all of the frame.
        outputs: the network's, one per image; empty before it ran.
        result: None before it is made.
        laps_ms: milliseconds by stage: ``preprocess``, ``network``, ``heads``.
    """

    def __init__(self, steps: Steps) -> None:
        """Begin: everything up to the first images."""
        self._steps = steps
        self.outputs: Sequence[NetworkOutput] = ()
        self.result: OpenSetResult | None = None
        self.laps_ms: dict[str, float] = {}
        start = perf_counter()
        self.images: Sequence[np.ndarray] = next(steps)
        self.whole: np.ndarray | None = self.images[0] if self.images else None
        self.laps_ms["preprocess"] = 1e3 * (perf_counter() - start)

    def advance(self) -> bool:
        """Go on from the network's outputs: to the result, or to more images; whether it was the result."""
        start = perf_counter()
        try:
            self.images = self._steps.send(self.outputs)
        except StopIteration as done:
            self.result = done.value
            self.images = ()
        self.laps_ms["heads"] = self.laps_ms.get("heads", 0.0) + 1e3 * (perf_counter() - start)
        return self.result is not None
