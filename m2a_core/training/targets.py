"""From a semantic label map to the segments of mask classification."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from m2a_core.labels import LabelSet

IGNORE = 255
"""Label of void pixels during training."""


@dataclass(frozen=True)
class Target:
    """Ground truth of one training crop.

    Void pixels (unlabelled, padding, pasted outliers) belong to no segment and are left out of the mask losses and of
    matching. Mask2Former instead counts them as background of every mask; with CamVid's void and wide padding that
    would teach masks to stop at label holes that no camera sees.

    Attributes:
        classes: int64 [N], class id per segment.
        segments: int64 [H, W], segment id in 0..N-1, -1 = void.
        label: int64 [H, W], class id, 255 = void.
        outlier: bool [H, W], pixels of pasted unknown objects.
        partial: void hides known objects: a query without a segment is not taught to be "no object".
    """

    classes: Tensor
    segments: Tensor
    label: Tensor
    outlier: Tensor
    partial: bool = False


def make_target(
    label: np.ndarray,
    outlier: np.ndarray,
    labels: LabelSet,
    min_component: int,
    max_segments: int,
    partial: bool = False,
) -> Target:
    """Split a label map into segments: one per stuff class, one per connected component of a thing.

    Args:
        label: uint8 [H, W], class id or 255.
        outlier: bool [H, W].
        labels: the classes.
        min_component: smaller components of things become void.
        max_segments: of more segments than this (the network's queries), the smallest become void.
        partial: as in `Target`.

    Returns:
        The target.
    """
    kept = label.copy()
    found: list[tuple[int, np.ndarray]] = []
    for class_id in np.unique(label):
        if class_id >= labels.num_classes:
            continue
        mask = label == class_id
        if class_id not in labels.things:
            found.append((int(class_id), mask))
            continue
        count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        found += [(int(class_id), components == component) for component in range(1, count)]
    found.sort(key=lambda item: -int(item[1].sum()))
    segments = np.full(label.shape, -1, np.int64)
    classes: list[int] = []
    for class_id, mask in found:
        small = class_id in labels.things and int(mask.sum()) < min_component
        if small or len(classes) == max_segments:
            kept[mask] = IGNORE
        else:
            segments[mask] = len(classes)
            classes.append(class_id)
    return Target(
        torch.tensor(classes, dtype=torch.int64),
        torch.from_numpy(segments),
        torch.from_numpy(kept.astype(np.int64)),
        torch.from_numpy(outlier),
        partial,
    )
