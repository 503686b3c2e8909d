"""The part of an image that the network looks at: all of it, or a crop that fills the network's input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from m2a_core.types import PANOPTIC_VOID, UNLABELLED, OpenSetResult, UnknownInstance


@dataclass(frozen=True)
class Region:
    """A rectangle of an image, pixels.

    Attributes:
        x: first column.
        y: first row.
        width: columns.
        height: rows.
    """

    x: int
    y: int
    width: int
    height: int

    def scaled(self, size: tuple[int, int], to: tuple[int, int]) -> Region:
        """The same part of an image of height and width ``to`` instead of ``size``."""
        (x0, x1), (y0, y1) = (
            (round(start * new / old), round(stop * new / old))
            for start, stop, old, new in (
                (self.x, self.x + self.width, size[1], to[1]),
                (self.y, self.y + self.height, size[0], to[0]),
            )
        )
        return Region(x0, y0, max(1, x1 - x0), max(1, y1 - y0))

    def cut(self, image: np.ndarray) -> np.ndarray:
        """View the part of an image [H, W, ...]."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def crop_to_aspect(size: tuple[int, int], aspect: tuple[int, int], center: float) -> Region:
    """The largest region of an image that has the network's aspect.

    Args:
        size: height, width of the image.
        aspect: height, width of the network's input.
        center: where the region lies along the side that is cut: 0 top or left, 0.5 centre, 1 bottom or right.
    """
    (height, width), (aspect_h, aspect_w) = size, aspect
    new_h = max(1, min(height, round(width * aspect_h / aspect_w)))
    new_w = max(1, min(width, round(height * aspect_w / aspect_h)))
    return Region(round(center * (width - new_w)), round(center * (height - new_h)), new_w, new_h)


def place_back(
    result: OpenSetResult, region: Region, size: tuple[int, int], maps: tuple[int, int] | None = None
) -> OpenSetResult:
    """Bring the result of a region to the size of its image.

    Args:
        result: maps of the region's size, or of its part of maps of the size ``maps``.
        region: where it lies in the image.
        size: height, width of the image.
        maps: of the maps of the whole image; None for ``size``.

    Returns:
        Maps of the whole image. Outside the region: unlabelled, void, no instance, score 0.
    """
    if (region.height, region.width) == size:
        return result
    whole_size = maps or size
    part = region if maps is None else region.scaled(size, maps)

    def embed(values: np.ndarray | None, outside: int) -> np.ndarray | None:
        if values is None:
            return None
        whole = np.full(whole_size, outside, values.dtype)
        part.cut(whole)[:] = values
        return whole

    return replace(
        result,
        anomaly=embed(result.anomaly, 0),
        background=embed(result.background, 0),
        score=embed(result.score, 0),
        refined=embed(result.refined, 0),
        refined_road=embed(result.refined_road, 0),
        semantic=embed(result.semantic, UNLABELLED),
        open_set=embed(result.open_set, UNLABELLED),
        panoptic=embed(result.panoptic, PANOPTIC_VOID),
        unknown_instances=embed(result.unknown_instances, 0),
        instances=tuple(_moved(instance, region) for instance in result.instances),
        candidates=tuple(_moved(instance, region) for instance in result.candidates),
        candidate_map=embed(result.candidate_map, 0),
        horizon=None if result.horizon is None else replace(result.horizon, box=_box(result.horizon.box, region)),
        image_size=None if whole_size == size else size,
    )


def _moved(instance: UnknownInstance, region: Region) -> UnknownInstance:
    return replace(
        instance,
        bbox=_box(instance.bbox, region),
        contour=instance.contour + np.array([region.x, region.y], instance.contour.dtype),
        contact=(instance.contact[0] + region.x, instance.contact[1] + region.y),
    )


def _box(box: tuple[int, int, int, int], region: Region) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return x0 + region.x, y0 + region.y, x1 + region.x, y1 + region.y
