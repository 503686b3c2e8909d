"""Training batches that depend on seed, stage and step alone, so that a resumed run sees what the killed one would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from m2a_core.errors import M2aError
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.config import DataConfig, StageConfig
from m2a_core.training.datasets import LabelledImage
from m2a_core.training.false_alarms import HardNegatives
from m2a_core.training.frames_by_class import FramesByClass
from m2a_core.training.outliers import AnomalyMix
from m2a_core.training.targets import IGNORE, Target, make_target
from m2a_core.training.transforms import augment
from m2a_core.training.validation import normalise


class Batches:
    """Makes the batch of any step of a stage."""

    def __init__(
        self,
        frames: Sequence[LabelledImage],
        mix: AnomalyMix,
        labels: LabelSet,
        data: DataConfig,
        seed: int,
        own_frames: Mapping[int, Sequence[LabelledImage]] | None = None,
        hard_negatives: HardNegatives | None = None,
    ) -> None:
        """Take the data.

        Args:
            frames: training frames.
            mix: objects to paste.
            labels: the classes.
            data: augmentation and targets.
            seed: of everything random.
            own_frames: by position, the frames of stages that have their own.
            hard_negatives: known things to paste that were taken for unknown; None = none.
        """
        self.frames, self.mix, self.labels, self.data, self.seed = frames, mix, labels, data, seed
        self.own_frames = own_frames or {}
        self.hard_negatives = hard_negatives
        self.by_class: dict[int, FramesByClass] = {}

    def _by_class(self, stage_index: int, frames: Sequence[LabelledImage]) -> FramesByClass:
        if stage_index not in self.by_class:
            self.by_class[stage_index] = FramesByClass(frames, self.labels.num_classes)
        return self.by_class[stage_index]

    def get(
        self, stage: StageConfig, stage_index: int, step: int, rank: int = 0, world: int = 1
    ) -> tuple[Tensor, list[Target]]:
        """Make one batch, or one process's part of it.

        Args:
            stage: the stage's probabilities and batch size.
            stage_index: its position.
            step: step within the stage, from 0.
            rank: which part.
            world: number of parts; divides the batch size.

        Returns:
            Normalised images float [B, 3, H, W], H and W multiples of 32, and their targets.

        Raises:
            DataError: a frame that is read now is missing or malformed.
        """
        images, targets = [], []
        frames = self.own_frames.get(stage_index, self.frames)
        mix = self.mix if stage.blend is None else self.mix.fitted_by(stage.blend)
        share = stage.batch_size // world
        start = step * stage.batch_size + rank * share
        for position in range(start, start + share):
            epoch, index = divmod(position, len(frames))
            order = np.random.default_rng([self.seed, stage_index, epoch]).permutation(len(frames))
            rng = np.random.default_rng([self.seed, stage_index, position, 1])
            chosen, wanted = int(order[index]), None
            if stage.rare_frames > 0 and rng.random() < stage.rare_frames:
                chosen, wanted = self._by_class(stage_index, frames).draw(rng)
            frame = frames[chosen]
            instances = None if frame.instances is None else frame.instances.copy()
            image, label = frame.image.copy(), frame.label.copy()
            outlier = np.zeros(label.shape, bool) if frame.outlier is None else frame.outlier.copy()
            # Known objects go first: an unknown one must not be covered unnoticed.
            if rng.random() < stage.known_paste_prob:
                mix.add_known(image, label, outlier, int(rng.integers(1, 4)), rng, instances)
            # Without hard negatives no number is drawn: such runs see the numbers of before there were any.
            if self.hard_negatives is not None and rng.random() < self.data.hard_negatives.prob:
                self.hard_negatives.add(image, label, outlier, mix.blend, rng, instances)
            if rng.random() < stage.outlier_prob:
                mix.add_unknown(image, label, outlier, int(rng.integers(1, 4)), rng)
            image, label, outlier, instances = augment(
                image, label, outlier, stage.augment or self.data.augment, rng, instances, self.labels.road, wanted
            )
            images.append(image)
            label, outlier, *more = _pad(label, outlier, *([] if instances is None else [instances]))
            targets.append(
                make_target(
                    label,
                    outlier,
                    self.labels,
                    self.data.min_component,
                    self.data.max_segments,
                    frame.partial,
                    self.data.segments,
                    self.data.void,
                    more[0] if more else None,
                )
            )
        batch = normalise(images)
        height, width = targets[0].label.shape
        return F.pad(batch, (0, width - batch.shape[3], 0, height - batch.shape[2])), targets


def in_order(
    batches: Batches, stage: StageConfig, stage_index: int, first: int, rank: int, world: int, workers: int
) -> Iterator[tuple[Tensor, list[Target]]]:
    """The batches of a stage from step ``first`` on; arguments otherwise as `Batches.get`.

    Args:
        batches: makes them.
        stage: the stage.
        stage_index: its position.
        first: step to begin with.
        rank: which part of each.
        world: number of parts.
        workers: processes that prepare batches ahead; 0 = none.
    """
    steps = _Steps(batches, stage, stage_index, rank, world)
    if workers == 0:
        return (steps[step] for step in range(first, stage.iterations))
    loader: DataLoader[tuple[Tensor, list[Target]] | M2aError] = DataLoader(
        _Answers(steps),  # type: ignore[arg-type] # a dataset needs no more than __getitem__
        batch_size=None,
        sampler=range(first, stage.iterations),
        num_workers=workers,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
    )
    return map(_raised, loader)


class _Answers:
    """Batches by step in a worker process, errors on purpose as values.

    Raised there, `DataLoader` would give them the worker's whole traceback as message, the file in its last line.
    """

    def __init__(self, steps: _Steps) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> tuple[Tensor, list[Target]] | M2aError:
        try:
            return self.steps[step]
        except M2aError as error:
            return error


def _raised(answer: tuple[Tensor, list[Target]] | M2aError) -> tuple[Tensor, list[Target]]:
    if isinstance(answer, M2aError):
        raise answer
    return answer


class _Steps:
    """Batches by step."""

    def __init__(self, batches: Batches, stage: StageConfig, stage_index: int, rank: int, world: int) -> None:
        self.batches, self.stage, self.stage_index, self.rank, self.world = batches, stage, stage_index, rank, world

    def __getitem__(self, step: int) -> tuple[Tensor, list[Target]]:
        if self.world == 1:
            return self.batches.get(self.stage, self.stage_index, step)
        return self.batches.get(self.stage, self.stage_index, step, self.rank, self.world)


def _as_it_is(batch: tuple[Tensor, list[Target]]) -> tuple[Tensor, list[Target]]:
    return batch


def _pad(label: np.ndarray, outlier: np.ndarray, *instances: np.ndarray) -> list[np.ndarray]:
    """Bring maps to multiples of 32, right and below: void, no outlier, no instance."""
    rows, cols = (-n % 32 for n in label.shape)
    if not rows and not cols:
        return [label, outlier, *instances]
    fills = [(label, IGNORE), (outlier, False), *((more, 0) for more in instances)]
    return [np.pad(array, ((0, rows), (0, cols)), constant_values=value) for array, value in fills]
