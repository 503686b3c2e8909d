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
    """

    classes: Tensor
    segments: Tensor
    label: Tensor
    outlier: Tensor


def make_target(label: np.ndarray, outlier: np.ndarray, labels: LabelSet, min_component: int) -> Target:
    """Split a label map into segments: one per stuff class, one per connected component of a thing.

    Args:
        label: uint8 [H, W], class id or 255.
        outlier: bool [H, W].
        labels: the classes.
        min_component: smaller components of things become void.

    Returns:
        The target.
    """
    segments = np.full(label.shape, -1, np.int64)
    kept = label.copy()
    classes: list[int] = []
    for class_id in np.unique(label):
        if class_id >= labels.num_classes:
            continue
        mask = label == class_id
        if class_id not in labels.things:
            segments[mask] = len(classes)
            classes.append(int(class_id))
            continue
        count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        for component in range(1, count):
            where = components == component
            if stats[component, cv2.CC_STAT_AREA] < min_component:
                kept[where] = IGNORE
            else:
                segments[where] = len(classes)
                classes.append(int(class_id))
    return Target(
        torch.tensor(classes, dtype=torch.int64),
        torch.from_numpy(segments),
        torch.from_numpy(kept.astype(np.int64)),
        torch.from_numpy(outlier),
    )
