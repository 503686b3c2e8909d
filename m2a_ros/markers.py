"""Unknown instances -> ``visualization_msgs/MarkerArray`` in the base frame.

Every tracked instance whose contact point meets the ground within ``max_distance`` gives three markers with its track's
id: ``<camera>/outline`` (the contour, upright over the contact point), ``<camera>/footprint`` (a rectangle on the
ground) and ``<camera>/label`` (id, score, distance with its bounds). One that meets no ground, such as above the
horizon, gives none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.labels import UNKNOWN_COLOR
from m2a_core.types import UnknownInstance
from m2a_ros.projection import GroundProjector

_LINE_WIDTH_M = 0.05
_TEXT_HEIGHT_M = 0.4
_CONTOUR_TOLERANCE_PX = 1.5


@dataclass(frozen=True)
class PlacedInstance:
    """An unknown instance in the base frame, metres.

    Attributes:
        instance: the instance in the image.
        position: float64 [3], its contact point on the ground.
        distance: from the point on the ground below the camera.
        bounds: the nearest and farthest that ``distance`` can be; the farthest may be infinite.
        outline: float64 [N, 3], its contour in the vertical plane through ``position`` that faces the camera.
        footprint: float64 [4, 3], a rectangle on the ground as wide as the outline and, for its depth cannot be seen,
            as deep as wide, behind ``position``.
    """

    instance: UnknownInstance
    position: np.ndarray
    distance: float
    bounds: tuple[float, float]
    outline: np.ndarray
    footprint: np.ndarray


def place(
    instance: UnknownInstance, projector: GroundProjector, max_distance: float, pixel_error: float
) -> PlacedInstance | None:
    """Place an instance on the ground plane.

    Args:
        instance: the instance.
        projector: of its camera.
        max_distance: metres from the camera; a pixel near the horizon means hundreds of metres and is not trusted.
        pixel_error: by how many pixels the contact point may be off.

    Returns:
        None where its contact point is at or above the horizon, outside the lens model, or farther than allowed.
    """
    position = projector.ground(np.array([instance.contact]))[0]
    away = position - projector.position
    away[2] = 0.0
    distance = float(np.linalg.norm(away))
    if not 0 < distance <= max_distance:
        return None
    contour = cv2.approxPolyDP(np.asarray(instance.contour, np.int32).reshape(-1, 1, 2), _CONTOUR_TOLERANCE_PX, True)
    outline = projector.upright(contour.reshape(-1, 2), position)
    outline = outline[np.isfinite(outline).all(axis=1)]
    forward = away / distance
    left = np.array([-forward[1], forward[0], 0.0])
    sides = (outline - position) @ left if len(outline) else np.zeros(1)
    near_left, near_right = (position + side * left for side in (sides.max(), sides.min()))
    depth = float(np.ptp(sides)) * forward
    footprint = np.array([near_left, near_right, near_right + depth, near_left + depth])
    bounds = projector.distance_bounds(instance.contact, pixel_error)
    return PlacedInstance(instance, position, distance, bounds, outline, footprint)


class MarkerBuilder:
    """Builds one camera's marker arrays and remembers what is shown, so that what is gone gets deleted."""

    def __init__(self, camera: str, base_frame: str, lifetime: float) -> None:
        """Start with nothing shown.

        Args:
            camera: name of the camera, first part of the namespaces.
            base_frame: frame of the markers.
            lifetime: seconds after which a viewer drops a marker by itself; 0 for never.
        """
        self._kinds = {kind: f"{camera}/{kind}" for kind in ("outline", "footprint", "label")}
        self._base_frame = base_frame
        self._lifetime = Duration(sec=int(lifetime), nanosec=int(lifetime % 1 * 1e9))
        self._shown: set[int] = set()

    def build(self, stamp: Any, placed: Mapping[int, PlacedInstance]) -> MarkerArray:
        """Markers of one frame.

        Args:
            stamp: ``builtin_interfaces/Time`` of the frame.
            placed: the instances to show, by the id of their track.

        Returns:
            ADD markers for each, DELETE markers for ids shown before and gone now.
        """
        header = Header(stamp=stamp, frame_id=self._base_frame)
        markers = []
        for number, item in placed.items():
            markers.append(self._line(header, number, item, "outline", item.outline))
            markers.append(self._line(header, number, item, "footprint", item.footprint))
            markers.append(self._label(header, number, item))
        for gone in sorted(self._shown - placed.keys()):
            markers += [Marker(header=header, ns=ns, id=gone, action=Marker.DELETE) for ns in self._kinds.values()]
        self._shown = set(placed)
        return MarkerArray(markers=markers)

    def _marker(self, header: Header, number: int, item: PlacedInstance, kind: str, shape: int) -> Marker:
        """A marker at the instance's contact point; its points are relative to it."""
        marker = Marker(header=header, ns=self._kinds[kind], id=number, type=shape, action=Marker.ADD)
        marker.pose.position = _point(item.position)
        marker.pose.orientation.w = 1.0
        marker.lifetime = self._lifetime
        red, green, blue = (value / 255 for value in UNKNOWN_COLOR)
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        return marker

    def _line(self, header: Header, number: int, item: PlacedInstance, kind: str, points: np.ndarray) -> Marker:
        marker = self._marker(header, number, item, kind, Marker.LINE_STRIP)
        marker.scale.x = _LINE_WIDTH_M
        closed = np.concatenate([points, points[:1]])
        marker.points = [_point(point) for point in closed - item.position]
        return marker

    def _label(self, header: Header, number: int, item: PlacedInstance) -> Marker:
        marker = self._marker(header, number, item, "label", Marker.TEXT_VIEW_FACING)
        top = float(item.outline[:, 2].max()) if len(item.outline) else 0.0
        marker.pose.position.z = top + _TEXT_HEIGHT_M
        marker.scale.z = _TEXT_HEIGHT_M
        marker.text = f"unknown {number}  {item.instance.score:.2f}  {_distance_text(item)}"
        return marker


def _distance_text(item: PlacedInstance) -> str:
    near, far = item.bounds
    return (
        f"{item.distance:.1f} m ({near:.1f}..{far:.1f})"
        if np.isfinite(far)
        else f"{item.distance:.1f} m (> {near:.1f})"
    )


def _point(xyz: np.ndarray) -> Point:
    x, y, z = (float(value) for value in xyz)
    return Point(x=x, y=y, z=z)
