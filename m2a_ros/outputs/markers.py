"""Placed instances -> ``visualization_msgs/MarkerArray`` in the base frame.

Every instance gives three markers with its track's number as id: ``<camera>/outline`` (the contour, upright over the
foot), ``<camera>/footprint`` (a level rectangle) and ``<camera>/label`` (number, score, distance with its bounds, width
x height).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from m2a_core.geometry.localization import LocalizedInstance
from m2a_core.labels.label_set import UNKNOWN_COLOR
from m2a_core.stream.objects import TrackedObject
from m2a_ros.outputs.marker_fields import MarkerFields

_LINE_WIDTH_M = 0.05
_TEXT_HEIGHT_M = 0.4
_COLOR = (UNKNOWN_COLOR[0] / 255, UNKNOWN_COLOR[1] / 255, UNKNOWN_COLOR[2] / 255, 1.0)


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
    """Builds one camera's markers and remembers what is shown, so that what is gone gets deleted."""

    def __init__(self, camera: str, base_frame: str, lifetime: float) -> None:
        """Start with nothing shown.

        Args:
            camera: name of the camera, first part of the namespaces.
            base_frame: frame of the markers.
            lifetime: seconds after which a viewer drops a marker by itself; 0 for never.
        """
        self._kinds = {kind: f"{camera}/{kind}" for kind in ("outline", "footprint", "label")}
        self._base_frame = base_frame
        self._lifetime = int(lifetime), int(lifetime % 1 * 1e9)
        self._shown: set[int] = set()

    def header(self, stamp: Any) -> Header:
        """Of the markers of a frame; ``stamp`` is its ``builtin_interfaces/Time``."""
        return Header(stamp=stamp, frame_id=self._base_frame)

    def build(self, placed: Mapping[int, LocalizedInstance]) -> list[MarkerFields]:
        """Markers of one frame.

        Args:
            placed: the instances to show, by the number of their track.

        Returns:
            ADD markers for each, DELETE markers for ids shown before and gone now.
        """
        markers = [marker for number, item in placed.items() for marker in self._of(number, item)]
        for gone in sorted(self._shown - placed.keys()):
            markers += [MarkerFields(ns, gone, action=Marker.DELETE) for ns in self._kinds.values()]
        self._shown = set(placed)
        return markers

    def _of(self, number: int, item: LocalizedInstance) -> Iterator[MarkerFields]:
        """The markers of an instance, at its foot; points are relative to it."""
        x, y, z = item.position.tolist()
        for kind, points in (("outline", item.outline), ("footprint", item.footprint)):
            yield MarkerFields(
                self._kinds[kind],
                number,
                Marker.LINE_STRIP,
                position=(x, y, z),
                scale=(_LINE_WIDTH_M, 0.0, 0.0),
                color=_COLOR,
                lifetime=self._lifetime,
                points=np.concatenate([points, points[:1]]) - item.position,
            )
        yield MarkerFields(
            self._kinds["label"],
            number,
            Marker.TEXT_VIEW_FACING,
            position=(x, y, float(item.outline[:, 2].max()) + _TEXT_HEIGHT_M),
            scale=(0.0, 0.0, _TEXT_HEIGHT_M),
            color=_COLOR,
            lifetime=self._lifetime,
            text=f"unknown {number}  {item.instance.score:.2f}  {_distance_text(item)}  {_size_text(item)}",
        )


def _distance_text(item: LocalizedInstance) -> str:
    near, far = item.bounds
    return (
        f"{item.distance:.1f} m ({near:.1f}..{far:.1f})"
        if np.isfinite(far)
        else f"{item.distance:.1f} m (> {near:.1f})"
    )


def _size_text(item: LocalizedInstance) -> str:
    return f"{item.size[0]:.1f} x {item.size[1]:.1f} m"
