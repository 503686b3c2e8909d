"""The composed validation set: held-apart frames with objects of unseen kinds, made as Fishyscapes Static is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2a_core.training.datasets import Cutout, LabelledImage
from m2a_core.training.outliers import ROAD_LIKE, VALIDATION_BLEND, AnomalyMix
from m2a_core.training.targets import IGNORE


@dataclass(frozen=True)
class ComposedImage:
    """One frame with unknown objects.

    Attributes:
        name: stem of the frame.
        image: uint8 [H, W, 3], RGB.
        label: uint8 [H, W]: 0 known, 1 anomaly, 255 not counted.
    """

    name: str
    image: np.ndarray
    label: np.ndarray


def compose(
    frames: Sequence[LabelledImage], unseen: Sequence[Cutout], seed: int, ground: Sequence[int] = ROAD_LIKE
) -> list[ComposedImage]:
    """Put one or two unseen objects on or near the road of every frame; the same every time.

    Args:
        frames: held-apart frames.
        unseen: cut-outs of kinds that training never saw.
        seed: of places, sizes and blending.
        ground: class ids that objects stand on.

    Returns:
        One image per frame, none without objects. A frame's image does not depend on the other frames.
    """
    if not unseen:
        return []
    mix = AnomalyMix(unseen, [], VALIDATION_BLEND, ground)
    composed = []
    for frame in frames:
        rng = np.random.default_rng([seed, *frame.name.encode()])
        image, label = frame.image.copy(), frame.label.copy()
        outlier = np.zeros(label.shape, bool)
        mix.add_unknown(image, label, outlier, int(rng.integers(1, 3)), rng)
        truth = np.where(outlier, 1, np.where(label == IGNORE, 255, 0)).astype(np.uint8)
        composed.append(ComposedImage(frame.name, image, truth))
    return composed
