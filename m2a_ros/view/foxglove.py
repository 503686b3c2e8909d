"""A Foxglove layout for the cameras that there are: overlays, anomaly maps, the world, diagnostics and times."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def foxglove_layout(node: str, cameras: Sequence[str], base_frame: str) -> str:
    """The file's text.

    Args:
        node: full name of the node, such as ``/car/m2a``.
        cameras: names of its cameras.
        base_frame: the frame that the world is seen in, the node's parameter ``base_frame``.
    """
    images = {}
    for camera in cameras:
        images[f"Image!overlay_{camera}"] = _image(f"{node}/debug/{camera}/overlay/compressed", f"{camera}: overlay")
        images[f"Image!anomaly_{camera}"] = _image(f"{node}/debug/{camera}/anomaly_color", f"{camera}: anomaly map")
    markers = [f"{node}/output/{camera}/unknown_markers" for camera in cameras]
    panels = {
        **images,
        "3D!world": _world(markers, base_frame),
        "DiagnosticSummary!node": {
            "minLevel": 0,
            "pinnedIds": [],
            "hardwareIdFilter": "m2a",
            "topicToRender": "/diagnostics",
            "sortByLevel": True,
        },
        "Plot!time": _plot(
            [
                f"{node}/debug/{camera}/{name}"
                for camera in cameras
                for name in ("processing_time_ms", "pipeline_latency_ms")
            ]
        ),
    }
    rows = [_split("row", f"Image!overlay_{camera}", f"Image!anomaly_{camera}") for camera in cameras]
    facts = _split("row", "DiagnosticSummary!node", "Plot!time")
    layout = {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": _split("row", _stack(rows), _split("column", "3D!world", facts, 65)),
    }
    return json.dumps(layout, indent=2) + "\n"


def _image(topic: str, title: str) -> dict[str, Any]:
    return {"cameraState": {}, "imageMode": {"imageTopic": topic}, "foxglovePanelTitle": title}


def _world(markers: Sequence[str], base_frame: str) -> dict[str, Any]:
    grid = {
        "layerId": "foxglove.Grid",
        "instanceId": "grid",
        "visible": True,
        "frameId": base_frame,
        "size": 60,
        "divisions": 60,
        "lineWidth": 1,
        "color": "#248eff",
        "position": [0, 0, 0],
        "rotation": [0, 0, 0],
        "label": "Ground",
    }
    return {
        "cameraState": {
            "perspective": True,
            "distance": 30,
            "phi": 55,
            "thetaOffset": 90,
            "targetOffset": [10, 0, 0],
            "target": [0, 0, 0],
            "targetOrientation": [0, 0, 0, 1],
            "fovy": 45,
            "near": 0.5,
            "far": 5000,
        },
        "followTf": base_frame,
        "scene": {},
        "transforms": {},
        "topics": {topic: {"visible": True} for topic in markers},
        "layers": {"grid": grid},
        "foxglovePanelTitle": "Unknown objects",
    }


def _plot(topics: Sequence[str]) -> dict[str, Any]:
    paths = [{"value": f"{topic}.data", "enabled": True, "timestampMethod": "receiveTime"} for topic in topics]
    return {
        "title": "Milliseconds",
        "paths": paths,
        "showXAxisLabels": True,
        "showYAxisLabels": True,
        "showLegend": True,
        "legendDisplay": "floating",
        "isSynced": True,
        "xAxisVal": "timestamp",
        "followingViewWidth": 30,
    }


def _stack(rows: Sequence[Any]) -> Any:
    """Panels below each other, equally high."""
    return rows[0] if len(rows) == 1 else _split("column", rows[0], _stack(rows[1:]), 100 / len(rows))


def _split(direction: str, first: Any, second: Any, percentage: float = 50) -> dict[str, Any]:
    return {"direction": direction, "first": first, "second": second, "splitPercentage": percentage}
