"""A frame between the steps of perception, which may run on different threads."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from m2a_core.contract.network_output import NetworkOutput
from m2a_core.types import OpenSetResult

Steps = Generator[Sequence[np.ndarray], Sequence[NetworkOutput], OpenSetResult]
"""Yields images for the network, uint8 [H, W, 3] each, and is sent its outputs; yields none once it needs no more, and
then returns the result."""


class PerceptionTask:
    """A frame that the network has not seen yet, or whose answer nobody has looked at.

    Attributes:
        images: uint8 [H, W, 3] each, that the network is to see next; none once it has seen all.
        whole: the first one, which shows all of the frame.
        outputs: the network's so far, the one of ``whole`` first.
        laps_ms: milliseconds by stage: ``preprocess``, ``network``, ``heads``.
    """

    def __init__(self, steps: Steps) -> None:
        """Begin: everything up to the first images."""
        self._steps = steps
        self.outputs: Sequence[NetworkOutput] = ()
        self.laps_ms: dict[str, float] = {}
        start = perf_counter()
        self.images: Sequence[np.ndarray] = next(steps)
        self.whole: np.ndarray | None = self.images[0] if self.images else None
        self.laps_ms["preprocess"] = 1e3 * (perf_counter() - start)

    def answered(self, outputs: Sequence[NetworkOutput]) -> None:
        """Take the network's outputs, one per image; ``images`` are then what it is to see next."""
        self.outputs = (*self.outputs, *outputs)
        with self._heads_lap():
            self.images = self._steps.send(outputs)

    def result(self) -> OpenSetResult:
        """Make the result; once, when there are no ``images`` left."""
        with self._heads_lap():
            try:
                self._steps.send(())
            except StopIteration as done:
                made: OpenSetResult = done.value
                return made
        raise AssertionError("the network is still to see images")

    @contextmanager
    def _heads_lap(self) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.laps_ms["heads"] = self.laps_ms.get("heads", 0.0) + 1e3 * (perf_counter() - start)
