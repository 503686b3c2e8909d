"""From a semantic label map to the segments of mask classification."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from m2a_core.labels.label_set import LabelSet

IGNORE = 255
"""Label of void pixels during training."""
CHOICES: dict[int, tuple[int, ...]] = {200: (8, 10), 201: (1, 5)}
"""Labels of pixels that are one of several CamVid-11 classes: vehicles (car, or a cycle without its rider), and what is
far (building, tree)."""


@dataclass(frozen=True)
class Target:
    """Ground truth of one training crop.

    Void pixels (unlabelled, padding, pasted outliers) belong to no segment and are left out of the mask losses and of
    matching. Mask2Former instead counts them as background of every mask (``void_is_background``); with CamVid's void
    and wide padding that would teach masks to stop at label holes that no camera sees.

    Attributes:
        classes: int64 [N], class id per segment.
        segments: int64 [H, W], segment id in 0..N-1, -1 = void.
        label: int64 [H, W], class id, 255 = void.
        outlier: bool [H, W], pixels of pasted unknown objects.
        choice: int64 [H, W], key of `CHOICES` where one of several classes is meant, else 0; such pixels are void to
            everything but the set-valued loss.
        partial: void hides known objects: a query without a segment is not taught to be "no object".
        void_is_background: void pixels count in the mask losses, as outside of every mask.
    """

    classes: Tensor
    segments: Tensor
    label: Tensor
    outlier: Tensor
    choice: Tensor
    partial: bool = False
    void_is_background: bool = False

    def to(self, device: torch.device) -> Target:
        """The same target on a device."""
        names = ("classes", "segments", "label", "outlier", "choice")
        tensors = {name: getattr(self, name).to(device) for name in names}
        return dataclasses.replace(self, **tensors)


def make_target(
    label: np.ndarray,
    outlier: np.ndarray,
    labels: LabelSet,
    min_component: int,
    max_segments: int,
    partial: bool = False,
    segments: str = "component",
    void: str = "ignore",
    instances: np.ndarray | None = None,
) -> Target:
    """Split a label map into segments: one per stuff class, and things as ``segments`` says.

    Args:
        label: uint8 [H, W], class id, key of `CHOICES` or 255.
        outlier: bool [H, W].
        labels: the classes; with ``void = class``, the last one is the class of void pixels.
        min_component: smaller components of things become void.
        max_segments: of more segments than this (the network's queries), the smallest become void.
        partial: as in `Target`.
        segments: of a thing, one per connected ``component``, per ``class`` or per ``instance``.
        void: ``ignore``, ``background`` or ``class``, as in `DataConfig`.
        instances: int32 [H, W], number of the instance; needed for ``instance`` alone.

    Returns:
        The target.
    """
    choice = np.where(np.isin(label, list(CHOICES)), label, 0)
    kept = np.where(choice > 0, IGNORE, label)
    if void == "class":
        kept[label == IGNORE] = labels.num_classes - 1
    found: list[tuple[int, np.ndarray]] = []
    for class_id in np.unique(kept):
        if class_id >= labels.num_classes:
            continue
        mask = kept == class_id
        if class_id not in labels.things or segments == "class":
            found.append((int(class_id), mask))
        elif segments == "instance":
            assert instances is not None
            found += [(int(class_id), mask & (instances == i)) for i in np.unique(instances[mask])]
        else:
            count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            found += [(int(class_id), components == component) for component in range(1, count)]
    found.sort(key=lambda item: -int(item[1].sum()))
    numbers = np.full(label.shape, -1, np.int64)
    classes: list[int] = []
    for class_id, mask in found:
        small = segments != "class" and class_id in labels.things and int(mask.sum()) < min_component
        if small or len(classes) == max_segments:
            kept[mask] = IGNORE
        else:
            numbers[mask] = len(classes)
            classes.append(class_id)
    return Target(
        torch.tensor(classes, dtype=torch.int64),
        torch.from_numpy(numbers),
        torch.from_numpy(kept.astype(np.int64)),
        torch.from_numpy(outlier),
        torch.from_numpy(choice.astype(np.int64)),
        partial,
        void == "background",
    )
