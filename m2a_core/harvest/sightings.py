"""What is seen of one tracked object over its frames: figures, and the best pictures of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

CROPS = 3
"""Pictures of an object that are kept."""

SURROUNDING = 0.5
"""Of the larger side of an object's box: how much of the surrounding a crop shows on each side."""

_MIN_SURROUNDING_PX = 8
_CUT_OFF = 0.25
"""An object that the image's edge cuts counts for so much."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""


@dataclass(frozen=True)
class Place:
    """Where an object stands.

    Attributes:
        position: x, y, z, metres.
        frame_id: the frame they are in.
        distance: metres from the vehicle's base along the ground.
    """

    position: tuple[float, float, float]
    frame_id: str
    distance: float


@dataclass(frozen=True)
class Crop:
    """An object in one frame.

    Attributes:
        quality: the higher, the more is seen of it.
        stamp_ns: of the frame, nanoseconds.
        image: uint8 [h, w, 3], RGB, the object with some surrounding.
        mask: bool [h, w].
        classes: uint8 [h, w], ids of the open-set mask.
        origin: x, y of the crop's upper left pixel in the frame.
        box: the object's in the frame.
        frame: uint8 [H, W, 3], the whole frame, where it is kept.
        frame_classes: uint8 [H, W], class ids of it.
        size: H, W of the frame.
    """

    quality: float
    stamp_ns: int
    image: np.ndarray
    mask: np.ndarray
    classes: np.ndarray
    origin: tuple[int, int]
    box: Box
    size: tuple[int, int]
    frame: np.ndarray | None = None
    frame_classes: np.ndarray | None = None


@dataclass
class ObjectSightings:
    """One track; frames come in order.

    Attributes:
        number: of the track.
        first_ns: stamp of its first frame.
        last_ns: stamp of its last frame.
        last_frame: number of its last frame among the camera's.
        frames: frames that show it.
        scores: mean score in each of them.
        area: its largest area, pixels.
        place: where it was nearest; None where unknown.
        crops: the best ones, best first.
    """

    number: int
    first_ns: int
    last_ns: int = 0
    last_frame: int = 0
    frames: int = 0
    score_sum: float = 0.0
    score_max: float = 0.0
    area: int = 0
    place: Place | None = None
    crops: list[Crop] = field(default_factory=list)

    def add(
        self,
        frame: int,
        stamp_ns: int,
        score: float,
        area: int,
        place: Place | None,
        cut_off: bool,
        crop: Callable[[float], Crop | None],
    ) -> None:
        """Take up a frame.

        Args:
            frame: its number among the camera's.
            stamp_ns: its stamp.
            score: mean anomaly score over the object's pixels.
            area: its pixels.
            place: where it stands.
            cut_off: whether the image's edge cuts it.
            crop: makes the picture of a given quality; called only where it is among the best; None where there is no
                picture.
        """
        self.last_ns, self.last_frame = stamp_ns, frame
        self.frames += 1
        self.score_sum += score
        self.score_max = max(self.score_max, score)
        self.area = max(self.area, area)
        if place is not None and (self.place is None or place.distance < self.place.distance):
            self.place = place
        quality = area * score * (_CUT_OFF if cut_off else 1.0)
        if len(self.crops) < CROPS or quality > self.crops[-1].quality:
            made = crop(quality)
            if made is not None:
                # Sorting is stable: of equal ones the earlier stays.
                self.crops = sorted([*self.crops, made], key=lambda c: -c.quality)[:CROPS]

    @property
    def score_mean(self) -> float:
        """Mean of the frames' scores."""
        return self.score_sum / self.frames


def box_of(mask: np.ndarray) -> Box:
    """The box of a mask, bool [H, W], that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def with_surrounding(box: Box, size: tuple[int, int]) -> Box:
    """A box with ``SURROUNDING`` around it, within an image of height and width ``size``."""
    x0, y0, x1, y1 = box
    margin = max(_MIN_SURROUNDING_PX, round(SURROUNDING * max(x1 - x0, y1 - y0)))
    return max(0, x0 - margin), max(0, y0 - margin), min(size[1], x1 + margin), min(size[0], y1 + margin)


def cut(
    image: np.ndarray, mask: np.ndarray, classes: np.ndarray, box: Box, quality: float, stamp_ns: int, whole: bool
) -> Crop:
    """Cut an object out of a frame.

    Args:
        image: uint8 [H, W, 3], RGB.
        mask: bool [H, W].
        classes: uint8 [H, W].
        box: of the mask.
        quality: see ``Crop``.
        stamp_ns: see ``Crop``.
        whole: keep the whole frame, too.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = with_surrounding(box, (height, width))
    part = (slice(y0, y1), slice(x0, x1))
    return Crop(
        quality,
        stamp_ns,
        image[part].copy(),
        mask[part].copy(),
        classes[part].copy(),
        (x0, y0),
        box,
        (height, width),
        image if whole else None,
        classes if whole else None,
    )
