"""True objects through a drive: from when, and from how far, the published unknown instances show them.

An object is found in a frame when unknown instances of which at least a quarter lies on anomalies or void cover at
least a quarter of its pixels: a quarter is the lowest overlap that SegmentMeIfYouCan's F1* counts. Without instance
ids, objects are the 8-connected components of the labels, followed from frame to frame by overlap, or else by the
nearest centre within the larger component's size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from m2a_core.geometry.projection import GroundProjector
from m2a_core.metrics.pixel import ANOMALY, KNOWN
from m2a_ros.review.events import runs_of

SHARE = 0.25
"""Least share of the object that is covered, and of an instance that is on anomalies or void."""

_MAX_GAP_FRAMES = 3


@dataclass
class Observation:
    """An object in one frame.

    Attributes:
        frame: number of the camera's frame, from 0, scored or not.
        stamp_ns: stamp of the image.
        pixels: the object's pixels.
        found: whether the published instances show it.
        distance: metres to its lowest point on flat ground; None where that cannot be told.
    """

    frame: int
    stamp_ns: int
    pixels: int
    found: bool
    distance: float | None


@dataclass
class TrueObject:
    """One object of one camera in one bag."""

    bag: str
    camera: str
    name: str
    observations: list[Observation] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """When and where it was first seen and first found, and in which of its frames it was.

        ``visible_frames`` and ``found_frames`` are stretches of numbers of the camera's frames: [first, last].
        """
        first = self.observations[0]
        hit = next((number for number, observation in enumerate(self.observations) if observation.found), None)
        found = None if hit is None else self.observations[hit]
        seconds = [(b.stamp_ns - a.stamp_ns) / 1e9 for a, b in pairwise(self.observations[: (hit or 0) + 1])]
        return {
            "bag": self.bag,
            "camera": self.camera,
            "object": self.name,
            "frames_visible": len(self.observations),
            "frames_found": sum(observation.found for observation in self.observations),
            "recall": sum(observation.found for observation in self.observations) / len(self.observations),
            "largest_pixels": max(observation.pixels for observation in self.observations),
            "first_visible_stamp_ns": first.stamp_ns,
            "first_visible_distance_m": first.distance,
            "last_visible_stamp_ns": self.observations[-1].stamp_ns,
            "first_found_stamp_ns": found.stamp_ns if found else None,
            "first_found_distance_m": found.distance if found else None,
            "delay_frames": hit,
            "visible_frames": runs_of([observation.frame for observation in self.observations]),
            "found_frames": runs_of([observation.frame for observation in self.observations if observation.found]),
            # Jumping clocks must not add up to a negative delay.
            "delay_s": sum(max(0.0, step) for step in seconds) if found else None,
        }


class ObjectTracker:
    """Collects the objects of one camera in one bag."""

    def __init__(self, bag: str, camera: str, projector: GroundProjector | None, min_pixels: int) -> None:
        """Start without objects.

        Args:
            bag: name of the bag.
            camera: name of the camera.
            projector: of the camera; None for no distances.
            min_pixels: what is seen of an object makes it visible from this size on.
        """
        self._bag, self._camera, self._projector, self._min_pixels = bag, camera, projector, min_pixels
        self._objects: dict[str, TrueObject] = {}
        self._frame = 0
        self._components: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}

    def add(
        self, number: int, stamp_ns: int, labels: np.ndarray, instances: np.ndarray, ids: np.ndarray | None
    ) -> None:
        """Look at a frame.

        Args:
            number: of the camera's frame, from 0.
            stamp_ns: stamp of the image.
            labels: uint8 [H, W], 0 known, 1 anomaly, 255 void.
            instances: uint16 [H, W], the published unknown instances.
            ids: integer [H, W], true instances where the labels say anomaly; None for components.
        """
        shown = _trusted(instances, labels)
        masks = self._follow(labels) if ids is None else _by_id(ids, labels, self._min_pixels)
        for name, mask in masks.items():
            pixels = int(np.count_nonzero(mask))
            covered = int(np.count_nonzero(shown[mask]))
            known = self._objects.setdefault(name, TrueObject(self._bag, self._camera, name))
            found = covered >= SHARE * pixels
            known.observations.append(Observation(number, stamp_ns, pixels, found, self._distance(mask)))
        self._frame += 1

    def objects(self) -> list[TrueObject]:
        """The objects, in order of appearance."""
        return list(self._objects.values())

    def _distance(self, mask: np.ndarray) -> float | None:
        if self._projector is None:
            return None
        row = int(np.flatnonzero(mask.any(axis=1))[-1])
        # An object cut off by the image's lower edge stands nearer than what is seen of it.
        if row == mask.shape[0] - 1:
            return None
        foot = (float(np.flatnonzero(mask[row]).mean()), row + 0.5)
        away = (self._projector.ground(np.array([foot]))[0] - self._projector.position)[:2]
        distance = float(np.linalg.norm(away))
        return distance if np.isfinite(distance) else None

    def _follow(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Components of the labels under the names they had in the frames before."""
        count, ids, stats, centers = cv2.connectedComponentsWithStats((labels == ANOMALY).astype(np.uint8))
        old = {n: part for n, part in self._components.items() if self._frame - part[0] <= _MAX_GAP_FRAMES}
        wanted = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= self._min_pixels]
        pairs = []
        for i in wanted:
            for name, (_, center, before) in old.items():
                if before.shape == labels.shape:
                    overlap = int(np.count_nonzero(before[ids == i]))
                    away = float(np.linalg.norm(centers[i] - center))
                    if overlap or away <= float(max(stats[i, 2:4])):
                        pairs.append((-overlap, away, name, i))
        names: dict[int, str] = {}
        for _, _, name, i in sorted(pairs):
            if i not in names and name not in names.values():
                names[i] = name
        for i in wanted:
            if i not in names:
                names[i] = str(len(self._objects.keys() | set(names.values())) + 1)
        masks = {names[i]: ids == i for i in wanted}
        self._components = old | {names[i]: (self._frame, centers[i], masks[names[i]]) for i in wanted}
        return masks


def _by_id(ids: np.ndarray, labels: np.ndarray, min_pixels: int) -> dict[str, np.ndarray]:
    inside = np.where(labels == ANOMALY, ids, 0)
    numbers, counts = np.unique(inside, return_counts=True)
    return {str(n): inside == n for n, c in zip(numbers, counts, strict=True) if n and c >= min_pixels}


def _trusted(instances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pixels, bool [H, W], of published instances that are not mostly on known ground."""
    sizes = np.bincount(instances.ravel())
    off = np.bincount(instances[labels == KNOWN].ravel(), minlength=len(sizes))
    good = sizes - off >= SHARE * sizes
    good[0] = False
    trusted: np.ndarray = good[instances]
    return trusted
