"""AnomalyMix: pasting of unknown cut-outs, and of known objects so that pasting itself is no evidence (Sec. 4.3)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import LabelSet
from m2a_core.training.data_config import BlendConfig
from m2a_core.training.datasets import Cutout, LabelledImage
from m2a_core.training.pasting import HORIZON, paste, place, size_off_ground
from m2a_core.training.variation import draw_weights, rotated, vary

ROAD_LIKE = (3, 4)
CAMERA_HEIGHT = 1.4
"""Assumed, in metres: pixels per metre on the ground at a row = (row - horizon) / CAMERA_HEIGHT."""
LARGE = (0.3, 0.9)
"""Longer side of a large object as a share of the frame's height."""
_AREAS = (150, 20000)
"""Pixels of the smallest and the largest known object that is cut out."""

TRAIN_BLEND = BlendConfig()
VALIDATION_BLEND = BlendConfig(
    match=(0.3, 0.5), blur=(0.4, 0.9), edge=(0.4, 0.8), noise=(1.0, 3.0), shadow=0.0, texture_swap=0.0, on_road=1.0
)
"""As Fishyscapes Static: brightness matched, blurred, on or near the road."""


def erode_alpha(rgba: np.ndarray) -> np.ndarray:
    """Take one pixel off the alpha, where old cut-outs have light rims."""
    padded = cv2.copyMakeBorder(rgba[..., 3], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    alpha = cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    return np.dstack([rgba[..., :3], alpha])


def cut_known_objects(frames: Iterable[LabelledImage], labels: LabelSet = CAMVID11) -> list[Cutout]:
    """Cut the things of other frames out, as negatives for pasting: instances, or components where there are none.

    Args:
        frames: training frames.
        labels: their classes.

    Returns:
        Cut-outs whose ``kind`` is the class id and whose name holds the row of their foot, ``row@NAME``.
    """
    objects = []
    for frame in frames:
        for class_id in sorted(labels.things):
            for mask in _things(frame, class_id):
                x, y, w, h = cv2.boundingRect(mask)
                area = cv2.countNonZero(mask)
                if not _AREAS[0] <= area <= _AREAS[1] or x == 0 or y == 0 or x + w == mask.shape[1]:
                    continue
                rgba = np.dstack([frame.image[y : y + h, x : x + w], mask[y : y + h, x : x + w] * 255])
                objects.append(Cutout(f"{y + h}@{frame.name}", str(class_id), True, rgba))
    return objects


def _things(frame: LabelledImage, class_id: int) -> Iterator[np.ndarray]:
    """Masks uint8 [H, W] of 0 and 1."""
    mask = frame.label == class_id
    if frame.instances is None:
        count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        found = np.arange(1, count)
    else:
        numbers = np.where(mask, frame.instances, 0)
        found = np.unique(numbers[mask])
    for number in found[found > 0]:
        yield (numbers == number).astype(np.uint8)


class AnomalyMix:
    """Pastes unknown and known objects into road frames."""

    def __init__(
        self,
        unknown: Sequence[Cutout],
        known: Sequence[Cutout],
        blend: BlendConfig = TRAIN_BLEND,
        ground: Sequence[int] = ROAD_LIKE,
        favour: Mapping[str, float] | None = None,
        shares: Mapping[Path, float] | None = None,
        need_known: bool = True,
    ) -> None:
        """Take the objects.

        Args:
            unknown: outlier cut-outs.
            known: cut-outs of known things, may be empty.
            blend: how objects are fitted in.
            ground: class ids that objects can stand on.
            favour: kind of an unknown object -> how many times likelier it is drawn.
            shares: folder -> share of the unknown objects that are drawn from it, each kind as often as the next.
            need_known: whether it is an error to paste known objects where there are none, or nothing is pasted then.
        """
        self.need_known = need_known
        self.ground = tuple(ground)
        self.unknown = [(erode_alpha(c.rgba), c) for c in unknown]
        self.known = [(c.rgba, c) for c in known]
        self.blend = blend
        self.weights = draw_weights(unknown, favour or {}, shares or {})

    def fitted_by(self, blend: BlendConfig) -> AnomalyMix:
        """The same objects, fitted in otherwise."""
        other = copy.copy(self)
        other.blend = blend
        return other

    def add_unknown(
        self, image: np.ndarray, label: np.ndarray, outlier: np.ndarray, count: int, rng: np.random.Generator
    ) -> None:
        """Paste ``count`` unknown objects, in place; arguments as for `paste`.

        Raises:
            DataError: there are none.
        """
        if not self.unknown:
            raise DataError(
                "AnomalyMix: no outlier cut-outs were given; name a folder with some or set outlier_prob: 0"
            )
        height = image.shape[0]
        for _ in range(count):
            rgba = self.unknown[rng.choice(len(self.unknown), p=self.weights)][0]
            if rng.random() < self.blend.texture_swap:
                other = self.unknown[rng.integers(len(self.unknown))][0]
                rgba = np.dstack([cv2.resize(other[..., :3], rgba.shape[1::-1]), rgba[..., 3]])
            rgba = vary(rgba, self.blend, rng)
            if rng.random() < 0.5:
                rgba = rgba[:, ::-1]
            if rng.random() < 0.3:
                rgba = rotated(rgba, float(rng.uniform(-40, 40)))
            x, y, grounded = place(label, self.blend.on_road, self.ground, rng, self.blend.far)
            if self.blend.large > 0 and rng.random() < self.blend.large:
                size = rng.uniform(*LARGE) * height
                y = max(y, int(min(height, rng.uniform(0.5, 1.1) * height)))
            elif grounded:
                metres = np.exp(rng.uniform(*np.log(self.blend.metres)))
                size = np.clip((y - HORIZON * height) / CAMERA_HEIGHT * metres, 6, 0.55 * height)
            else:
                size = size_off_ground(height, rng)
            paste(image, label, outlier, np.ascontiguousarray(rgba), (x, y), float(size), None, self.blend, rng)

    def add_known(
        self,
        image: np.ndarray,
        label: np.ndarray,
        outlier: np.ndarray,
        count: int,
        rng: np.random.Generator,
        instances: np.ndarray | None = None,
    ) -> None:
        """Paste ``count`` known objects at a size that fits their row, in place; arguments as for `paste`.

        Raises:
            DataError: there are none, and there should be.
        """
        if not self.known:
            if not self.need_known:
                return
            raise DataError(
                "AnomalyMix: the training frames hold no whole car, pedestrian or bicyclist to cut out; "
                "set known_paste_prob: 0"
            )
        horizon = HORIZON * image.shape[0]
        for _ in range(count):
            rgba, cutout = self.known[rng.integers(len(self.known))]
            x, y, grounded = place(label, 0.9, self.ground, rng)
            size = float(max(rgba.shape[:2]))
            old = int(cutout.name.split("@")[0]) - horizon
            factor = (y - horizon) / old if grounded and old > 5 else 1.0
            size = float(np.clip(size * factor * rng.uniform(0.8, 1.25), 10, 0.7 * image.shape[0]))
            if rng.random() < 0.5:
                rgba = rgba[:, ::-1]
            paste(
                image,
                label,
                outlier,
                np.ascontiguousarray(rgba),
                (x, y),
                size,
                int(cutout.kind),
                self.blend,
                rng,
                instances,
            )
