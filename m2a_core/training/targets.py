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
CLASS_SETS: dict[int, tuple[int, ...]] = {
    200: (2, 3),  # building, wall
    201: (6, 7),  # traffic light, traffic sign
    202: (8, 9),  # vegetation, terrain
    203: (13, 14, 15),  # car, truck, bus
    204: (12, 17, 18),  # rider, motorcycle, bicycle
    205: tuple(range(19)),  # a known thing without a class of its own: the own bonnet
    210: (13, 14, 15, 17, 18),  # a vehicle of any kind
    211: (2, 3, 5, 8, 9),  # what stands far away
    212: (1, 9),  # sidewalk, terrain
}
"""Labels of pixels that are one of several Cityscapes classes, in data sets with coarser classes."""
SURE_CLASS_SETS = (200, 201, 202, 203, 204, 205)
OWN_CAR = 205
"""Sets that hold known classes and nothing else; the others may hide what is none of them, such as a rickshaw."""


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
        class_set: int64 [H, W], key of `CLASS_SETS` where one of several classes is meant, else 0; such pixels are void
            to everything but the set-valued loss.
        partial: void hides known objects: a query without a segment is not taught to be "no object".
        void_is_background: void pixels count in the mask losses, as outside of every mask.
        outlier_area: float32 [H, W], area of the connected outlier that a pixel is of, in pixels, 0 elsewhere; only
            losses that balance objects need it.
    """

    classes: Tensor
    segments: Tensor
    label: Tensor
    outlier: Tensor
    class_set: Tensor
    partial: bool = False
    void_is_background: bool = False
    outlier_area: Tensor | None = None

    def to(self, device: torch.device) -> Target:
        """The same target on a device."""
        names = ("classes", "segments", "label", "outlier", "class_set", "outlier_area")
        tensors = {name: x.to(device) for name in names if (x := getattr(self, name)) is not None}
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
        label: uint8 [H, W], class id, key of `CLASS_SETS` or 255.
        outlier: bool [H, W].
        labels: the classes; with ``void = class``, the last one is the class of void pixels.
        min_component: smaller components of things become void.
        max_segments: of more segments than this (the network's queries), the smallest become void.
        partial: as in `Target`.
        segments: of a thing, one per connected ``component``, per ``class`` or per ``instance``.
        void: ``ignore``, ``background`` or ``class``, as in `DataConfig`.
        instances: int32 [H, W], number of the instance, 0 = an undivided group, which is no segment; without it, things
            split into components even with ``instance``.

    Returns:
        The target.
    """
    class_set = np.where(np.isin(label, list(CLASS_SETS)), label, 0)
    kept = np.where(class_set > 0, IGNORE, label)
    if void == "class":
        kept[label == IGNORE] = labels.num_classes - 1
    found: list[tuple[int, np.ndarray]] = []
    for class_id in np.unique(kept):
        if class_id >= labels.num_classes:
            continue
        mask = kept == class_id
        if class_id not in labels.things or segments == "class":
            found.append((int(class_id), mask))
        elif segments == "instance" and instances is not None:
            numbered = np.where(mask, instances, 0)
            found += [(int(class_id), numbered == i) for i in np.unique(numbered) if i > 0]
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
        torch.from_numpy(class_set.astype(np.int64)),
        partial,
        void == "background",
        torch.from_numpy(_areas(outlier)),
    )


def _areas(mask: np.ndarray) -> np.ndarray:
    """Area of the connected component at each pixel: float32 [H, W]."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float32)
    areas[0] = 0
    return np.asarray(areas[numbers])
