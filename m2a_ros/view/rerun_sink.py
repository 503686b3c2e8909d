"""Messages -> Rerun. Takes messages of rclpy and of rosbags alike; needs no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr

from m2a_core.overlay import draw_scores
from m2a_ros.camera.stamps import stamp_to_ns
from m2a_ros.images.conversions import image_to_array
from m2a_ros.view.topics import ShownTopic

_ADD, _LINE_STRIP, _TEXT = 0, 4, 9
_TIMELINE = "stamp"


class RerunSink:
    """One recording: a window, or a file."""

    def __init__(self, save: Path | None) -> None:
        """Start the recording.

        Args:
            save: write to this file and open no window; None for a window.
        """
        self._stream = rr.RecordingStream("m2a")
        if save is None:
            self._stream.spawn()
        else:
            self._stream.save(str(save))
        self._stream.log("world", rr.ViewCoordinates.FLU, static=True)
        # By entity: marker id -> what it shows now.
        self._lines: dict[str, dict[tuple[str, int], Any]] = {}

    def show(self, topic: ShownTopic, message: Any) -> None:
        """Log one message at its own stamp."""
        if topic.what == "unknown_markers":
            self._show_markers(topic.camera, message)
            return
        self._set_time(message.header.stamp)
        entity = f"cameras/{topic.camera}/{topic.what}"
        if topic.what == "overlay":
            media = "image/png" if "png" in message.format else "image/jpeg"
            self._stream.log(entity, rr.EncodedImage(contents=bytes(message.data), media_type=media))
        elif topic.what == "anomaly_map":
            self._stream.log(entity, rr.Image(draw_scores(image_to_array(message))))
        else:
            self._stream.log(entity, rr.SegmentationImage(image_to_array(message)))

    def close(self) -> None:
        """Write what is left."""
        self._stream.flush()
        self._stream.disconnect()

    def _set_time(self, stamp: Any) -> None:
        self._stream.set_time(_TIMELINE, timestamp=np.datetime64(stamp_to_ns(stamp), "ns"))

    def _show_markers(self, camera: str, message: Any) -> None:
        """All markers that are there now: an array tells only what changed."""
        known = self._lines.setdefault(camera, {})
        for marker in message.markers:
            self._set_time(marker.header.stamp)
            known.pop((marker.ns, marker.id), None)
            if marker.action == _ADD:
                known[marker.ns, marker.id] = marker
        entity = f"world/{camera}"
        lines = [m for m in known.values() if m.type == _LINE_STRIP]
        strips = [[_at(m, p) for p in m.points] for m in lines]
        self._stream.log(f"{entity}/lines", rr.LineStrips3D(strips, colors=[_color(m) for m in lines], radii=0.03))
        texts = [m for m in known.values() if m.type == _TEXT]
        spots = [_at(m) for m in texts]
        labels = rr.Points3D(spots, labels=[m.text for m in texts], colors=[_color(m) for m in texts], radii=0.05)
        self._stream.log(f"{entity}/labels", labels)


def _at(marker: Any, point: Any = None) -> list[float]:
    """A marker's position, or that of a point of it; the node's markers are not turned."""
    p = marker.pose.position
    return [p.x, p.y, p.z] if point is None else [p.x + point.x, p.y + point.y, p.z + point.z]


def _color(marker: Any) -> list[int]:
    c = marker.color
    return [round(255 * value) for value in (c.r, c.g, c.b, c.a)]
