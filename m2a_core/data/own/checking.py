"""Reads all of own data once: counts, what is wrong, and which frames to draw."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from m2a_core.data.own.frames import UNSPLIT, OwnDataset, OwnFrame
from m2a_core.errors import DataError
from m2a_core.labels.label_map import VOID
from m2a_core.labels.label_set import LabelSet
from m2a_core.progress import ProgressBar

FEW = 5
"""A class that fewer frames show is hardly learnt."""


@dataclass
class SplitReport:
    """What was found in the frames of a split.

    Attributes:
        pixels: int64 [K + 1], labelled pixels per class, void ones last.
        frames: int64 [K + 1], frames that show each.
        instances: int64 [K], numbered things per class.
        sizes: number of frames by (width, height).
        sequences: of the frames that can be read.
        unlabelled: names of frames whose maps are all void.
        empty: names of frames in which no object is annotated, and nothing else is labelled.
        shown: per readable frame, which classes it shows.
    """

    pixels: np.ndarray
    frames: np.ndarray
    instances: np.ndarray
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    sequences: set[str] = field(default_factory=set)
    unlabelled: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    shown: list[tuple[OwnFrame, frozenset[int]]] = field(default_factory=list)

    def lines(self, name: str, labels: LabelSet) -> Iterator[str]:
        """The report for people."""
        sizes = ", ".join(f"{count} of {w}x{h}" for (w, h), count in self.sizes.most_common(4))
        more = f" and {len(self.sizes) - 4} more sizes" if len(self.sizes) > 4 else ""
        sequences = f"{len(self.sequences)} sequence{'' if len(self.sequences) == 1 else 's'}"
        yield f"{name}: {len(self.shown)} frames of {sequences} ({sizes or 'none'}{more})"
        total = max(1, int(self.pixels.sum()))
        wide = max(len(text) for text in (*labels.names, "void"))
        for i, text in enumerate((*labels.names, "void")):
            share = self.pixels[i] / total
            numbered = f", {self.instances[i]} things" if i < labels.num_classes and self.instances[i] else ""
            yield (
                f"  {text:{wide}s} {100 * share:6.2f} % {'#' * round(30 * share):30s} "
                f"in {self.frames[i]} frames{numbered}"
            )


@dataclass(frozen=True)
class CheckReport:
    """What was found in own data; see `SplitReport`.

    Attributes:
        splits: by name.
        problems: what must be fixed.
        notes: what one may want to know.
    """

    splits: dict[str, SplitReport]
    problems: list[str]
    notes: list[str]


def check_own(dataset: OwnDataset) -> CheckReport:
    """Read every frame; a broken one is noted and the next one read."""
    labels = dataset.file.labels
    report = CheckReport({}, list(dataset.listing.problems), list(dataset.listing.notes))
    contents: dict[str, OwnFrame] = {}
    leaks: list[str] = []
    for frame in ProgressBar(dataset.listing.frames, desc="check", unit="frame", dynamic_ncols=True, leave=False):
        split = report.splits.setdefault(frame.split, _empty(labels.num_classes))
        try:
            image, truth = frame.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        _count(split, frame, image, truth.label, truth.instances, labels.num_classes)
        other = contents.setdefault(hashlib.sha256(image.tobytes()).hexdigest(), frame)
        if other.split != frame.split:
            leaks.append(f"{frame.image} and {other.image}")
    if leaks:
        report.notes.append(
            f"{len(leaks)} images are in two splits, such as {leaks[0]}: figures measured on them mean nothing"
        )
    _judge(report, labels)
    return report


def _empty(classes: int) -> SplitReport:
    return SplitReport(np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64), np.zeros(classes, np.int64))


def _count(
    split: SplitReport,
    frame: OwnFrame,
    image: np.ndarray,
    label: np.ndarray,
    instances: np.ndarray | None,
    classes: int,
) -> None:
    counts = np.bincount(label.ravel(), minlength=256)
    counts = np.append(counts[:classes], counts[VOID])
    split.pixels += counts
    split.frames += counts > 0
    split.sizes[image.shape[1], image.shape[0]] += 1
    split.sequences.add(frame.sequence)
    shown = frozenset(np.flatnonzero(counts[:classes]).tolist())
    split.shown.append((frame, shown))
    if not shown:
        (split.unlabelled if frame.has_map else split.empty).append(frame.name)
    if instances is not None:
        numbers, first = np.unique(instances, return_index=True)
        kinds = label.ravel()[first[numbers > 0]]
        split.instances += np.bincount(kinds[kinds < classes], minlength=classes)


def _judge(report: CheckReport, labels: LabelSet) -> None:
    """Problems and notes that take all frames together."""
    train, val = (report.splits.get(name) for name in ("train", "val"))
    if UNSPLIT in report.splits:
        report.problems.append("the frames are not split into train and val: `m2a data split` does it, by sequence")
    elif train is None or not train.shown:
        report.problems.append("train: no frame that can be read: nothing to train on")
    if train is not None and train.shown:
        for i, name in enumerate(labels.names):
            if not train.frames[i]:
                report.problems.append(
                    f"class '{name}' has no pixel in train: the network cannot learn it; label some, or take it out of "
                    "the classes"
                )
            elif train.frames[i] < FEW <= len(train.shown):
                report.notes.append(f"class '{name}' is in {train.frames[i]} frames of train: it will hardly be learnt")
        if val is None or not val.shown:
            report.notes.append(
                "val is empty: nothing will be measured during training, and `m2a evaluate` has nothing to measure on; "
                "`m2a data split` takes sequences of train for it"
            )
        else:
            absent = [n for i, n in enumerate(labels.names) if train.frames[i] and not val.frames[i]]
            if absent:
                report.notes.append(f"val shows no {', '.join(absent)}: their IoU will be undefined")
            both = sorted(train.sequences & val.sequences - {""})
            if both:
                report.notes.append(
                    f"sequences in train and in val, by their names: {', '.join(both[:4])}: neighbouring frames are "
                    "alike, and figures will flatter; `m2a data split` splits by sequence"
                )
    for name, split in report.splits.items():
        if split.unlabelled:
            report.notes.append(
                f"{name}: {len(split.unlabelled)} frames have no label at all, such as {split.unlabelled[0]}: nothing "
                "is learnt from them"
            )
        if split.empty:
            report.notes.append(
                f"{name}: in {len(split.empty)} frames nothing is annotated, such as {split.empty[0]}: they teach that "
                "no object is there"
            )
    if labels.road is None:
        report.notes.append(
            "no class is the road ('road: NAME' in the classes' file says which): no second look at the far end of the "
            "road, and unknown instances are not marked as on the road"
        )
