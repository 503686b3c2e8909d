"""Unknown instances -> their place, size and uncertainty in the base frame.

An instance stands where the lowest point of its outline meets flat ground, or, where a depth image shows it, at its
depth. One that meets no ground (above the horizon, behind the camera) and has no depth has no place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.geometry.depth import DepthReading
from m2a_core.geometry.projection import GroundProjector
from m2a_core.types import UnknownInstance

_CONTOUR_TOLERANCE_PX = 1.5
# What an infinite bound counts as in a covariance, as a multiple of the distance.
_OPEN_BOUND = 10.0
_LEVEL, _TURN_LEFT = np.array([1.0, 1.0, 0.0]), np.array([-1.0, 1.0, 0.0])


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
    instances: Sequence[UnknownInstance],
    projector: GroundProjector,
    max_distance: float,
    pixel_error: float,
    depths: Sequence[DepthReading | None] | None = None,
) -> list[LocalizedInstance | None]:
    """Localize the instances of a frame, all at once: each look at a few pixels costs as much as one at all of them.

    Args:
        instances: the instances.
        projector: of their camera.
        max_distance: metres from the camera; a pixel near the horizon means hundreds of metres and is not trusted.
        pixel_error: by how many pixels the contact points may be off.
        depths: of each its depth, where a depth image shows it; then the ground does not matter. None for none.

    Returns:
        Of each its place; None where it has none, or is farther than allowed.
    """
    found: list[LocalizedInstance | None] = [None] * len(instances)
    if not instances:
        return found
    contacts = np.array([instance.contact for instance in instances])
    positions = projector.ground(contacts)
    readings = depths or [None] * len(instances)
    for number, depth in enumerate(readings):
        if depth is not None:
            positions[number] = projector.at_depth(contacts[number : number + 1], depth.middle)[0]
    away = (positions - projector.position) * _LEVEL
    distances = np.linalg.norm(away, axis=1)
    placed = np.flatnonzero((distances > 0) & (distances <= max_distance)).tolist()
    if not placed:
        return found
    forward = away[placed] / distances[placed, None]
    left = forward[:, [1, 0, 2]] * _TURN_LEFT
    near, far, spreads = projector.bounds(contacts[placed], pixel_error)
    across, upward = distances[placed] * np.tan(np.minimum(spreads, 1.0)), np.zeros(len(placed))
    for row, number in enumerate(placed):
        if (depth := readings[number]) is not None:
            near[row], far[row] = (distances[number] * end / depth.middle for end in (depth.near, depth.far))
            rise = abs(positions[number, 2] - projector.position[2])
            upward[row] = rise * (far[row] - near[row]) / distances[number]
    widths = np.array([np.minimum(far, _OPEN_BOUND * distances[placed]) - near, 2 * across, upward]).T
    covariances = _covariances(forward, left, widths)
    outlines = _outlines([instances[number] for number in placed], projector, positions[placed])
    for row, number in enumerate(placed):
        position, outline = positions[number], outlines[row]
        sides = (outline - position) @ left[row]
        near_left, near_right = (position + side * left[row] for side in (sides.max(), sides.min()))
        width = float(np.ptp(sides))
        depth_of_it = width * forward[row]
        found[number] = LocalizedInstance(
            instances[number],
            position,
            float(distances[number]),
            (float(near[row]), float(far[row])),
            (width, float(np.ptp(outline[:, 2]))),
            covariances[row],
            outline,
            np.array([near_left, near_right, near_right + depth_of_it, near_left + depth_of_it]),
        )
    return found


def _outlines(instances: Sequence[UnknownInstance], projector: GroundProjector, feet: np.ndarray) -> list[np.ndarray]:
    """The contours upright over their feet, float64 [N, 3]; the foot alone where no part of one has a place there."""
    contours = [
        cv2.approxPolyDP(np.asarray(i.contour, np.int32).reshape(-1, 1, 2), _CONTOUR_TOLERANCE_PX, True).reshape(-1, 2)
        for i in instances
    ]
    lengths = [len(contour) for contour in contours]
    points = projector.upright(np.concatenate(contours), np.repeat(feet, lengths, axis=0))
    seen, stops = np.isfinite(points).all(axis=1), np.cumsum(lengths).tolist()
    spans = (slice(stop - length, stop) for length, stop in zip(lengths, stops, strict=True))
    outlines = (points[span][seen[span]] for span in spans)
    return [outline if len(outline) else foot[None] for outline, foot in zip(outlines, feet, strict=True)]


def _covariances(forward: np.ndarray, left: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """float64 [N, 3, 3] of uniform distributions of widths [N, 3] along forward [N, 3], left [N, 3] and up."""
    axes = np.zeros((len(widths), 3, 3))
    axes[:, :, 0], axes[:, :, 1], axes[:, 2, 2] = forward, left, 1.0
    covariances: np.ndarray = (axes * (np.square(widths) / 12)[:, None]) @ axes.swapaxes(1, 2)
    return covariances
