"""`m2a train --check`: every file of a run is read once, and samples are drawn as training sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.label_set import UNKNOWN_COLOR, LabelSet
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from m2a_core.progress import ProgressBar
from m2a_core.training.batches import Batches
from m2a_core.training.config import StageConfig
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE, Target

SAMPLES = 8


@dataclass
class FrameReport:
    """What was found in a list of frames.

    Attributes:
        total: frames listed.
        broken: what is wrong with those that cannot be used, in words.
        pixels: int64 [K + 1], labelled pixels per class, and void ones last.
        frames: int64 [K + 1], frames in which each occurs.
        sizes: number of frames by (height, width).
    """

    total: int
    broken: list[str]
    pixels: np.ndarray
    frames: np.ndarray
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def lines(self, labels: LabelSet) -> Iterator[str]:
        """The report for people: counts, sizes, a histogram of the classes, and every broken frame."""
        good = self.total - len(self.broken)
        sizes = ", ".join(f"{n} of {w}x{h}" for (h, w), n in self.sizes.most_common(4))
        yield f"{good} of {self.total} frames can be read ({sizes or 'none'})"
        counted = max(1, int(self.pixels.sum()))
        for i, name in enumerate((*labels.names, "void")):
            share = self.pixels[i] / counted
            note = "" if self.frames[i] or i == labels.num_classes else ": the network cannot learn it"
            yield f"  {name:24s} {100 * share:6.2f} % {'#' * round(40 * share):40s} in {self.frames[i]} frames{note}"
        yield from (f"  broken: {text}" for text in self.broken)


def count_classes(frames: Sequence[LabelledImage], classes: int, void_class: bool) -> np.ndarray:
    """In how many frames each class occurs: int64 [classes]; each frame is read once.

    Args:
        frames: to look at.
        classes: their number.
        void_class: the last class is that of void pixels.
    """
    found = np.zeros(classes, np.int64)
    for frame in ProgressBar(frames, desc="classes", dynamic_ncols=True, leave=False):
        found += np.bincount(_ids(frame.label, classes, void_class), minlength=256)[:classes] > 0
    return found


def _ids(label: np.ndarray, classes: int, void_class: bool) -> np.ndarray:
    """The labels in a row, void ones as the last class where that is what they are."""
    flat = label.ravel()
    return np.where(flat == IGNORE, classes - 1, flat) if void_class else flat


def check_frames(sources: Sequence[FrameSource], labels: LabelSet, what: str, void_class: bool = False) -> FrameReport:
    """Read every frame; a broken one is noted and the next one read.

    Args:
        sources: the frames.
        labels: their classes.
        what: name for the progress bar.
        void_class: the last class is that of void pixels.
    """
    classes = labels.num_classes + 1
    report = FrameReport(len(sources), [], np.zeros(classes, np.int64), np.zeros(classes, np.int64))
    for source in ProgressBar(sources, desc=what, dynamic_ncols=True, leave=False):
        try:
            frame = source.read()
        except DataError as error:
            report.broken.append(str(error))
            continue
        counts = np.bincount(_ids(frame.label, labels.num_classes, void_class), minlength=256)
        counts = np.append(counts[: labels.num_classes], counts[labels.num_classes :].sum())
        report.pixels += counts
        report.frames += counts > 0
        report.sizes[frame.label.shape[0], frame.label.shape[1]] += 1
    return report


def write_contact_sheet(batches: Batches, stage: StageConfig, stage_index: int, path: Path) -> None:
    """Draw augmented samples with their targets as one picture, two a row: the crop, and the targets over it.

    Segments have their class' colour and white outlines, outlier pixels the colour of the unknown; void is left dark.

    Args:
        batches: makes the samples.
        stage: of which stage.
        stage_index: its position.
        path: image file to write.

    Raises:
        DataError: it cannot be written.
    """
    tiles: list[np.ndarray] = []
    step = 0
    while len(tiles) < SAMPLES:
        images, targets = batches.get(stage, stage_index, step)
        pixels = images.permute(0, 2, 3, 1).numpy() * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
        for image, target in zip(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), targets, strict=True):
            tiles.append(np.hstack([image, _draw(image, target, batches.labels)]))
        step += 1
    tiles = tiles[:SAMPLES]
    sheet = np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, SAMPLES, 2)])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise DataError(f"{path}: cannot be written")


def _draw(image: np.ndarray, target: Target, labels: LabelSet) -> np.ndarray:
    segments = target.segments.numpy()
    colors = np.array([labels.colors[c] for c in target.classes.tolist()] + [(0, 0, 0)], np.float32)
    drawn = np.where((segments >= 0)[..., None], 0.35 * image + 0.65 * colors[segments], 0.35 * image)
    drawn[target.outlier.numpy()] = UNKNOWN_COLOR
    border = np.zeros(segments.shape, bool)
    border[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    border[1:] |= segments[1:] != segments[:-1]
    drawn[border] = 255
    return drawn.astype(np.uint8)
