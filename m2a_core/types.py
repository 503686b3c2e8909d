"""The values that travel through m2a: validated, immutable, NumPy only.

Shape legend: ``B`` batch, ``Q`` queries, ``K`` known classes, ``H W`` image size, ``h w`` mask size (stride 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from m2a_core.errors import DataError

UNLABELLED = 255
"""Id of pixels without a class in 8-bit masks; never the id of an unknown object."""

PANOPTIC_DIVISOR = 256
"""``panoptic = class_id * PANOPTIC_DIVISOR + instance``; fits 16 bits for up to 255 classes."""

PANOPTIC_VOID = UNLABELLED * PANOPTIC_DIVISOR + 255
"""Panoptic id of pixels without a segment (65535)."""


class Output(str, Enum):
    """The outputs of the open-set heads; a caller asks for the ones it needs and pays for no other."""

    ANOMALY = "anomaly"
    BACKGROUND = "background"
    SCORE = "score"
    REFINED = "refined"
    REFINED_ROAD = "refined_road"
    SEMANTIC = "semantic"
    OPEN_SET = "open_set"
    PANOPTIC = "panoptic"
    UNKNOWN_INSTANCES = "unknown_instances"


ALL_OUTPUTS: frozenset[Output] = frozenset(Output)


def check_array(name: str, array: np.ndarray, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Check dtype and shape of an array.

    Args:
        name: what the array is, for the message.
        array: the array.
        dtype: the dtype it must have.
        shape: the shape it must have; None stands for any length >= 1.

    Raises:
        DataError: naming the array, what was expected and what came.
    """
    fits = array.ndim == len(shape) and all(
        n >= 1 and want in (None, n) for n, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        want_shape = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
        raise DataError(
            f"{name}: expected {np.dtype(dtype).name} {want_shape}, got {array.dtype.name} {list(array.shape)}"
        )


@dataclass(frozen=True)
class Frame:
    """One camera image.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        stamp_ns: acquisition time in nanoseconds, as the camera stamped it.
        frame_id: the camera's optical frame (REP-103: z forward, x right, y down).
        camera: name of the camera.

    Raises:
        DataError: the image is not uint8 [H, W, 3] or has no pixels.
    """

    image: np.ndarray
    stamp_ns: int = 0
    frame_id: str = ""
    camera: str = ""

    def __post_init__(self) -> None:
        """Validate the image."""
        check_array(f"image of camera '{self.camera}'", self.image, np.uint8, (None, None, 3))


@dataclass(frozen=True)
class UnknownInstance:
    """One unknown object in an image (Sec. 6.3).

    Attributes:
        id: its value in ``OpenSetResult.unknown_instances``, from 1.
        score: mean of the score that decides, over its pixels.
        area: pixels.
        bbox: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        contour: int32 [N, 2], outline as x, y in pixels.
        contact: x, y of the lowest point, in pixels: where the object meets the ground.
        on_road: whether that is on the road, or close to it; None where no road is seen.
    """

    id: int
    score: float
    area: int
    bbox: tuple[int, int, int, int]
    contour: np.ndarray
    contact: tuple[float, float]
    on_road: bool | None = None


@dataclass(frozen=True)
class FarEnd:
    """Where the road ends in a frame, smoothed over frames; it places the next frame's window.

    Attributes:
        y: fraction of the image's height, from the top.
        x: fraction of its width, from the left.
        stamp_ns: of the frame; 0 for an image that is not part of a stream.
        size: H, W of the frame, in pixels.
    """

    y: float
    x: float
    stamp_ns: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Horizon:
    """The window at the road's far end that the network saw at twice the detail.

    Attributes:
        box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        far_end: for the frame that follows.
    """

    box: tuple[int, int, int, int]
    far_end: FarEnd


@dataclass(frozen=True)
class OpenSetResult:
    """What m2a found in one frame; outputs that were not asked for are None.

    Maps are as large as the frame, or smaller (``image_size``); boxes, contours and contacts of instances are always in
    the frame's own pixels.

    Attributes:
        anomaly: float32 [H, W], f of Eq. 7, higher = more anomalous (can leave [0, 1]: S sums over queries).
        background: float32 [H, W], B of Eq. 17, in [0, 1].
        score: float32 [H, W], the score that decides what is unknown: f, or what the model's ``decision`` says.
        refined: float32 [H, W], the score in which unknown instances are looked for: f^r of Eq. 15, or ``score``; along
            the outlines of small ones sharpened by the image's colors, where the model's ``color_area`` says so.
        refined_road: float32 [H, W], ``refined``, lowered away from the road.
        semantic: uint8 [H, W], closed-set class id (Eq. 5).
        open_set: uint8 [H, W], class id or the label set's unknown id (Eq. 16); 255 unlabelled.
        panoptic: int32 [H, W], class_id * 256 + instance; 65535 void.
        unknown_instances: uint16 [H, W], 0 none, else the instance's id.
        instances: the unknown instances, by descending score.
        candidates: weaker ones, in no map: a caller who saw them before may hold on to them.
        candidate_map: uint16 [H, W], 0 none, else the id of a candidate; None where there is none.
        horizon: what was looked at more closely; None for nothing.
        timings_ms: milliseconds by stage (``preprocess``, ``network``, ``heads``).
        image_size: height, width of the frame where maps have another size; None where they have the frame's.
        score_by_color: the image's colors changed ``score``; a mask that the model's graph made is then not of it.
    """

    anomaly: np.ndarray | None = None
    background: np.ndarray | None = None
    score: np.ndarray | None = None
    refined: np.ndarray | None = None
    refined_road: np.ndarray | None = None
    semantic: np.ndarray | None = None
    open_set: np.ndarray | None = None
    panoptic: np.ndarray | None = None
    unknown_instances: np.ndarray | None = None
    instances: tuple[UnknownInstance, ...] = ()
    candidates: tuple[UnknownInstance, ...] = ()
    candidate_map: np.ndarray | None = None
    horizon: Horizon | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    score_by_color: bool = False

    def window(self, instance: UnknownInstance, ids: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of a map that contain an instance of this result; ``ids`` is the map."""
        x0, y0, x1, y1 = instance.bbox
        if self.image_size is None:
            return slice(y0, y1), slice(x0, x1)
        height, width = self.image_size
        rows, columns = ids.shape
        if rows > height or columns > width:
            # Parts that lie between the image's pixels are in no box.
            return slice(0, rows), slice(0, columns)
        return (
            slice(max(0, y0 * rows // height - 1), min(rows, -(-y1 * rows // height) + 1)),
            slice(max(0, x0 * columns // width - 1), min(columns, -(-x1 * columns // width) + 1)),
        )
