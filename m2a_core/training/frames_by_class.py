"""Frames drawn by class, so that classes that few frames show are learnt, too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2a_core.training.datasets import LabelledImage

LEAST = 100
"""Pixels of a class that make a frame one that shows it."""


class FramesByClass:
    """Which frames show which class; reads every frame once.

    Rare class sampling (Hoyer et al., "DAFormer", CVPR 2022), with every class as likely as any other.
    """

    def __init__(self, frames: Sequence[LabelledImage], classes: int) -> None:
        """Look at the frames.

        Args:
            frames: the frames of a stage.
            classes: number of known classes; higher ids (sets of classes, void) count for none.

        Raises:
            DataError: a frame is missing or malformed.
        """
        shown: list[list[int]] = [[] for _ in range(classes)]
        for index in range(len(frames)):
            counts = np.bincount(frames[index].label.reshape(-1), minlength=classes)[:classes]
            for class_id in np.flatnonzero(counts >= LEAST):
                shown[class_id].append(index)
        self.frames = {class_id: np.array(indices) for class_id, indices in enumerate(shown) if indices}

    def draw(self, rng: np.random.Generator) -> tuple[int, int | None]:
        """Index of a frame and the class that it was drawn for; frame 0 and None where no frame shows any class."""
        if not self.frames:
            return 0, None
        class_id = int(rng.choice(list(self.frames)))
        return int(rng.choice(self.frames[class_id])), class_id
