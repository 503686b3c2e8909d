"""Placed instances -> ``visualization_msgs/MarkerArray`` in the base frame.

Every instance gives three markers with its track's number as id: ``<camera>/outline`` (the contour, upright over the
foot), ``<camera>/footprint`` (a level rectangle) and ``<camera>/label`` (number, score, distance with its bounds, width
x height).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from m2a_core.geometry.localization import LocalizedInstance
from m2a_core.labels.label_set import UNKNOWN_COLOR
from m2a_core.stream.objects import TrackedObject

_LINE_WIDTH_M = 0.05
_TEXT_HEIGHT_M = 0.4


def locations_in(region: str, objects: Sequence[TrackedObject]) -> dict[int, LocalizedInstance]:
    """The places of the objects that get markers, by the number of their track.

    Args:
        region: ``scene`` for all; ``road`` without those that stand off the road. Where no road is seen, nothing tells
            that an object stands off it.
        objects: of a frame.
    """
    shown = [item for item in objects if region == "scene" or item.instance.on_road is not False]
    return {item.instance.id: item.location for item in shown if item.location is not None}


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
        # Making a marker takes ten times as long as filling it.
        self._made: dict[tuple[str, int], Marker] = {}

    def build(self, stamp: Any, placed: Mapping[int, LocalizedInstance]) -> MarkerArray:
        """Markers of one frame.

        Args:
            stamp: ``builtin_interfaces/Time`` of the frame.
            placed: the instances to show, by the number of their track.

        Returns:
            ADD markers for each, DELETE markers for ids shown before and gone now; the next call fills them anew.
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
        self._made = {key: marker for key, marker in self._made.items() if key[1] in placed}
        return MarkerArray(markers=markers)

    def _marker(self, header: Header, number: int, item: LocalizedInstance, kind: str, shape: int) -> Marker:
        """A marker at the instance's foot; its points are relative to it."""
        marker = self._made.get((kind, number))
        if marker is None:
            marker = self._made[kind, number] = Marker(ns=self._kinds[kind], id=number, type=shape, action=Marker.ADD)
            marker.pose.orientation.w = 1.0
            marker.lifetime = self._lifetime
            red, green, blue = (value / 255 for value in UNKNOWN_COLOR)
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        marker.header = header
        (marker.pose.position,) = _points(item.position[None])
        return marker

    def _line(self, header: Header, number: int, item: LocalizedInstance, kind: str, points: np.ndarray) -> Marker:
        marker = self._marker(header, number, item, kind, Marker.LINE_STRIP)
        marker.scale.x = _LINE_WIDTH_M
        closed = np.concatenate([points, points[:1]])
        marker.points = _points(closed - item.position)
        return marker

    def _label(self, header: Header, number: int, item: LocalizedInstance) -> Marker:
        marker = self._marker(header, number, item, "label", Marker.TEXT_VIEW_FACING)
        top = float(item.outline[:, 2].max())
        marker.pose.position.z = top + _TEXT_HEIGHT_M
        marker.scale.z = _TEXT_HEIGHT_M
        marker.text = f"unknown {number}  {item.instance.score:.2f}  {_distance_text(item)}  {_size_text(item)}"
        return marker


def _distance_text(item: LocalizedInstance) -> str:
    near, far = item.bounds
    return (
        f"{item.distance:.1f} m ({near:.1f}..{far:.1f})"
        if np.isfinite(far)
        else f"{item.distance:.1f} m (> {near:.1f})"
    )


def _size_text(item: LocalizedInstance) -> str:
    return f"{item.size[0]:.1f} x {item.size[1]:.1f} m"


def _points(xyz: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in xyz.tolist()]
