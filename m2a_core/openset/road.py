"""Where the road is: the hull of the model's own road surface, and what lies on it.

What stands on the road hides a part of it; the hull closes such holes and notches. Most false alarms of a search for
lost cargo lie beside the road; but so do true unknowns where they are looked for. Hence this is never used silently: it
makes a score of its own (``refined_road``), and says of each instance whether it stands on the road.
"""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.openset.components import largest_component

MARGIN = 0.03
"""How far beyond the hull, as a share of the map's height, still counts as the road."""

_FADE = 0.05
"""Share of the height over which the prior falls beyond the margin."""

_ROWS = 120
"""About so many rows of a map are looked at for the hull, well within the margin."""

_FLOOR = 0.2
"""The prior far from the road: scores keep their order there."""


def road_hull(semantic: np.ndarray, road: int | None) -> np.ndarray | None:
    """Convex hull of the largest connected road surface.

    Args:
        semantic: uint8 [H, W], class ids.
        road: id of the road; None where the model knows none.

    Returns:
        int32 [N, 1, 2], x and y; None where there is no road.
    """
    if road is None:
        return None
    step = max(1, semantic.shape[0] // _ROWS)
    sampled = (semantic[::step, ::step] == road).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(sampled)
    surface = largest_component(sampled[top : top + height, left : left + width]) if width else None
    if surface is None:
        return None
    # The ends of its rows have the same hull as all of its pixels, which are many.
    rows = np.flatnonzero(surface.any(axis=1))
    first = surface[rows].argmax(axis=1)
    last = surface.shape[1] - 1 - surface[rows, ::-1].argmax(axis=1)
    ends = np.concatenate((np.stack((first, rows), 1), np.stack((last, rows), 1)))
    hull: np.ndarray | None = cv2.convexHull((step * (ends + (left, top))).astype(np.int32)[:, None])
    return hull


def road_prior(hull: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Factor on a score: 1 on the road and within the margin, falling to a floor beyond.

    Args:
        hull: see ``road_hull``; None gives 1 everywhere.
        size: H, W.

    Returns:
        float32 [H, W], in [0.2, 1].
    """
    if hull is None:
        return np.ones(size, np.float32)
    outside = np.ones(size, np.uint8)
    cv2.fillConvexPoly(outside, hull, 0)
    beyond = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5) / size[0] - MARGIN
    prior: np.ndarray = np.clip(1 - (1 - _FLOOR) * beyond / _FADE, _FLOOR, 1).astype(np.float32)
    return prior


def lowered_off_road(score: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """A score times the prior, float32 [H, W]; where f (Eq. 7) is below 0 it stays, for the product would be higher."""
    lowered: np.ndarray = np.minimum(score, score * prior)
    return lowered


def stands_on(hull: np.ndarray, point: tuple[float, float], height: int) -> bool:
    """Whether a point, x and y, lies on the road or within the margin; ``height`` is that of the map."""
    return bool(cv2.pointPolygonTest(hull, point, True) >= -MARGIN * height)
