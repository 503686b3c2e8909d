"""What a marker says, as a message and as the bytes of one.

rclpy converts a message number by number, each point's three among them, which takes longer than all else that is done
for markers. Here they are written as CDR at once (OMG DDS-XTypes 1.3, 7.4.1), in the layout that
``visualization_msgs/Marker`` has from Humble on.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from rclpy.serialization import deserialize_message
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

_ENCAPSULATION = bytes((0, sys.byteorder == "little", 0, 0))
_COUNT, _STAMP, _IDS, _BODY = (struct.Struct(code) for code in ("=I", "=iI", "=3i", "=10d4fiI?"))
_NO_TEXTURE = struct.pack("=II4siII4sI4sII", 0, 1, b"", 0, 0, 1, b"", 1, b"", 0, 0)
"""No colours, then texture_resource, texture and uv_coordinates: an empty text is its closing zero."""
NO_MESH = struct.pack("=I4sI4sI?", 1, b"", 1, b"", 0, False)
"""mesh_resource, mesh_file and mesh_use_embedded_materials, the last fields."""
Three = tuple[float, float, float]


class MarkerFields(NamedTuple):
    """The fields of a marker that are used; all others are empty or zero.

    Attributes:
        ns: namespace.
        id: within it.
        type: of ``visualization_msgs/Marker``.
        action: of the same.
        position: of its pose, which is not turned.
        scale: metres.
        color: red, green, blue, opacity, 0..1.
        lifetime: seconds, nanoseconds.
        points: float64 [N, 3], relative to ``position``.
        text: to show.
    """

    ns: str
    id: int
    type: int = 0
    action: int = Marker.ADD
    position: Three = (0.0, 0.0, 0.0)
    scale: Three = (0.0, 0.0, 0.0)
    color: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    lifetime: tuple[int, int] = (0, 0)
    points: np.ndarray = np.empty((0, 3))
    text: str = ""


def array_of(header: Header, markers: Sequence[MarkerFields]) -> MarkerArray:
    """The message of some markers that share a header."""
    return MarkerArray(markers=[_message(header, fields) for fields in markers])


def _message(header: Header, fields: MarkerFields) -> Marker:
    marker = Marker(header=header, ns=fields.ns, id=fields.id, type=fields.type, action=fields.action, text=fields.text)
    for place, values in ((marker.pose.position, fields.position), (marker.scale, fields.scale)):
        place.x, place.y, place.z = values
    red, green, blue, opacity = fields.color
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=opacity)
    marker.lifetime = Duration(sec=fields.lifetime[0], nanosec=fields.lifetime[1])
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in fields.points.tolist()]
    return marker


def bytes_of(header: Header, markers: Sequence[MarkerFields]) -> np.ndarray:
    """The serialised message of some markers that share a header, uint8 [N]."""
    out, frame_id = bytearray(_ENCAPSULATION), header.frame_id.encode()
    stamp = _STAMP.pack(header.stamp.sec, header.stamp.nanosec)
    out += _COUNT.pack(len(markers))
    for fields in markers:
        _align(out, 4)
        out += stamp
        _add_text(out, frame_id)
        _add_text(out, fields.ns.encode())
        _align(out, 4)
        out += _IDS.pack(fields.id, fields.type, fields.action)
        _align(out, 8)
        turn = (0.0, 0.0, 0.0, 1.0)
        out += _BODY.pack(*fields.position, *turn, *fields.scale, *fields.color, *fields.lifetime, False)
        _align(out, 4)
        out += _COUNT.pack(len(fields.points))
        if len(fields.points):
            _align(out, 8)
            out += np.ascontiguousarray(fields.points, np.float64).tobytes()
        out += _NO_TEXTURE
        _add_text(out, fields.text.encode())
        _align(out, 4)
        out += NO_MESH
    return np.frombuffer(out, np.uint8)


def _align(out: bytearray, size: int) -> None:
    out += bytes((len(_ENCAPSULATION) - len(out)) % size)


def _add_text(out: bytearray, text: bytes) -> None:
    _align(out, 4)
    out += _COUNT.pack(len(text) + 1)
    out += text
    out += b"\0"


@cache
def writes_what_rclpy_reads() -> bool:
    """Whether the markers that are installed have the layout that is written here."""
    header = Header(stamp=Time(sec=1, nanosec=2), frame_id="base")
    points = np.arange(6.0).reshape(2, 3)
    sample = [
        MarkerFields(
            f"camera/{'x' * n}", n, 4, 2, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (0.25, 0.5, 0.75, 1.0), (7, 8), p, t
        )
        for n, (p, t) in enumerate([(points, ""), (points[:0], "text"), (points, "texts")])
    ]
    try:
        found: Any = deserialize_message(bytes_of(header, sample).tobytes(), MarkerArray)
    except RuntimeError:
        return False
    return bool(found == array_of(header, sample))
