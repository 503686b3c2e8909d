"""Training batches that depend on seed, stage and step alone, so that a resumed run sees what the killed one would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from m2a_core.labels import LabelSet
from m2a_core.training.config import DataConfig, StageConfig
from m2a_core.training.datasets import LabelledImage
from m2a_core.training.outliers import AnomalyMix
from m2a_core.training.targets import Target, make_target
from m2a_core.training.transforms import augment
from m2a_core.training.validation import normalise


class Batches:
    """Makes the batch of any step of a stage."""

    def __init__(
        self, frames: Sequence[LabelledImage], mix: AnomalyMix, labels: LabelSet, data: DataConfig, seed: int
    ) -> None:
        """Take the data.

        Args:
            frames: training frames.
            mix: objects to paste.
            labels: the classes.
            data: augmentation and targets.
            seed: of everything random.
        """
        self.frames, self.mix, self.labels, self.data, self.seed = frames, mix, labels, data, seed

    def get(self, stage: StageConfig, stage_index: int, step: int) -> tuple[Tensor, list[Target]]:
        """Make one batch.

        Args:
            stage: the stage's probabilities and batch size.
            stage_index: its position.
            step: step within the stage, from 0.

        Returns:
            Normalised images float [B, 3, H, W] and their targets.
        """
        images, targets = [], []
        for position in range(step * stage.batch_size, (step + 1) * stage.batch_size):
            epoch, index = divmod(position, len(self.frames))
            order = np.random.default_rng([self.seed, stage_index, epoch]).permutation(len(self.frames))
            rng = np.random.default_rng([self.seed, stage_index, position, 1])
            frame = self.frames[order[index]]
            image, label = frame.image.copy(), frame.label.copy()
            outlier = np.zeros(label.shape, bool)
            # Known objects go first: an unknown one must not be covered unnoticed.
            if rng.random() < stage.known_paste_prob:
                self.mix.add_known(image, label, outlier, int(rng.integers(1, 4)), rng)
            if rng.random() < stage.outlier_prob:
                self.mix.add_unknown(image, label, outlier, int(rng.integers(1, 4)), rng)
            image, label, outlier = augment(image, label, outlier, self.data.augment, rng)
            images.append(image)
            targets.append(
                make_target(label, outlier, self.labels, self.data.min_component, self.data.max_segments, frame.partial)
            )
        return normalise(images), targets
