"""Unknown instances -> their place, size and uncertainty in the base frame.

An instance stands where the lowest point of its outline meets flat ground, or, where a depth image shows it, at its
depth. One that meets no ground (above the horizon, behind the camera) and has no depth has no place.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.geometry.depth import DepthReading
from m2a_core.geometry.projection import GroundProjector
from m2a_core.types import UnknownInstance

_CONTOUR_TOLERANCE_PX = 1.5
# What an infinite bound counts as in a covariance, as a multiple of the distance.
_OPEN_BOUND = 10.0


@dataclass(frozen=True)
class LocalizedInstance:
    """An unknown instance in the base frame, metres.

    Attributes:
        instance: the instance in the image.
        position: float64 [3], its foot: where it meets the ground, or its lowest point at its depth.
        distance: of the foot from the point below the camera, measured along the ground.
        bounds: the nearest and farthest that ``distance`` can be; the farthest may be infinite.
        size: width and height of what is seen of it, facing the camera.
        covariance: float64 [3, 3], square metres, of ``position``; bounds taken as uniform distributions. Along z it is
            0 on the ground: that the ground is flat is assumed and not measured.
        outline: float64 [N, 3], its contour in the vertical plane through ``position`` that faces the camera.
        footprint: float64 [4, 3], a level rectangle as wide as the outline and, for its depth cannot be seen, as deep
            as wide, behind ``position``.
    """

    instance: UnknownInstance
    position: np.ndarray
    distance: float
    bounds: tuple[float, float]
    size: tuple[float, float]
    covariance: np.ndarray
    outline: np.ndarray
    footprint: np.ndarray


def localize(
    instance: UnknownInstance,
    projector: GroundProjector,
    max_distance: float,
    pixel_error: float,
    depth: DepthReading | None = None,
) -> LocalizedInstance | None:
    """Localize an instance.

    Args:
        instance: the instance.
        projector: of its camera.
        max_distance: metres from the camera; a pixel near the horizon means hundreds of metres and is not trusted.
        pixel_error: by how many pixels the contact point may be off.
        depth: its depth, where a depth image shows it; then the ground does not matter.

    Returns:
        None where it has no place, or is farther than allowed.
    """
    contact = np.array([instance.contact])
    position = (projector.ground(contact) if depth is None else projector.at_depth(contact, depth.middle))[0]
    away = (position - projector.position) * np.array([1.0, 1.0, 0.0])
    distance = float(np.linalg.norm(away))
    if not 0 < distance <= max_distance:
        return None
    bounds = (
        projector.distance_bounds(instance.contact, pixel_error)
        if depth is None
        else (distance * depth.near / depth.middle, distance * depth.far / depth.middle)
    )
    forward = away / distance
    left = np.array([-forward[1], forward[0], 0.0])
    outline = _outline(instance, projector, position)
    sides = (outline - position) @ left
    near_left, near_right = (position + side * left for side in (sides.max(), sides.min()))
    width = float(np.ptp(sides))
    footprint = np.array([near_left, near_right, near_right + width * forward, near_left + width * forward])
    across = distance * np.tan(min(projector.bearing_spread(instance.contact, pixel_error), 1.0))
    upward = 0.0 if depth is None else abs(position[2] - projector.position[2]) * (bounds[1] - bounds[0]) / distance
    return LocalizedInstance(
        instance,
        position,
        distance,
        bounds,
        (width, float(np.ptp(outline[:, 2]))),
        _covariance(forward, left, (min(bounds[1], _OPEN_BOUND * distance) - bounds[0], 2 * across, upward)),
        outline,
        footprint,
    )


def _outline(instance: UnknownInstance, projector: GroundProjector, foot: np.ndarray) -> np.ndarray:
    """The contour upright over the foot; the foot alone where no part of it has a place there."""
    contour = cv2.approxPolyDP(np.asarray(instance.contour, np.int32).reshape(-1, 1, 2), _CONTOUR_TOLERANCE_PX, True)
    outline = projector.upright(contour.reshape(-1, 2), foot)
    outline = outline[np.isfinite(outline).all(axis=1)]
    return outline if len(outline) else foot[None]


def _covariance(forward: np.ndarray, left: np.ndarray, widths: tuple[float, float, float]) -> np.ndarray:
    """Of uniform distributions of these widths, forward, left and up."""
    axes = np.column_stack([forward, left, [0.0, 0.0, 1.0]])
    covariance: np.ndarray = axes @ np.diag(np.square(widths) / 12) @ axes.T
    return covariance
