"""RViz's configuration for the cameras that there are: overlays, anomaly maps, and unknown objects on the ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

_HEADER = """\
# RViz for the cameras {cameras} of {node}: overlays, anomaly maps, unknown objects on the ground plane.
# The label images (open_set_mask, panoptic, unknown_instances) hold ids: look at them through the overlay.
# Written by `m2a layout rviz`, which does the same for other cameras and nodes.
"""


def rviz_config(node: str, cameras: Sequence[str], base_frame: str) -> str:
    """The file's text.

    Args:
        node: full name of the node, such as ``/car/m2a``.
        cameras: names of its cameras.
        base_frame: the fixed frame, the node's parameter ``base_frame``.
    """
    images = [display for camera in cameras for display in _images(node, camera)]
    markers = [_markers(node, camera) for camera in cameras]
    config = {
        "Panels": [
            {"Class": "rviz_common/Displays", "Name": "Displays"},
            {"Class": "rviz_common/Views", "Name": "Views"},
        ],
        "Visualization Manager": {
            "Class": "",
            "Displays": [_ground(), *images, *markers],
            "Enabled": True,
            "Global Options": {"Background Color": "48; 48; 48", "Fixed Frame": base_frame, "Frame Rate": 30},
            "Name": "root",
            "Tools": [{"Class": f"rviz_default_plugins/{tool}"} for tool in ("MoveCamera", "Select", "Measure")],
            "Value": True,
            "Views": {"Current": _view(around=len(cameras) > 1)},
        },
        # RViz reads both Hide values into a variable that it does not set beforehand.
        "Window Geometry": {
            "Displays": {"collapsed": False},
            "Views": {"collapsed": True},
            **{display["Name"]: {"collapsed": False} for display in images},
            "Hide Left Dock": False,
            "Hide Right Dock": False,
            "Width": 1600,
            "Height": 900,
            "X": 60,
            "Y": 60,
        },
    }
    header = _HEADER.format(cameras=", ".join(cameras), node=node)
    return header + yaml.safe_dump(config, sort_keys=False, width=120)


def _ground() -> dict[str, Any]:
    return {
        "Class": "rviz_default_plugins/Grid",
        "Name": "Ground",
        "Enabled": True,
        "Value": True,
        "Cell Size": 1,
        "Plane": "XY",
        "Plane Cell Count": 60,
        "Reference Frame": "<Fixed Frame>",
    }


def _images(node: str, camera: str) -> list[dict[str, Any]]:
    shared = {"Class": "rviz_default_plugins/Image", "Enabled": True, "Value": True}
    return [
        {
            **shared,
            "Name": f"{camera}: overlay",
            "Normalize Range": True,
            "Topic": _topic(f"{node}/debug/{camera}/overlay", "Best Effort", 1),
        },
        # A fixed range: each frame's own would paint the most harmless one red.
        {
            **shared,
            "Name": f"{camera}: anomaly map",
            "Normalize Range": False,
            "Min Value": 0,
            "Max Value": 1,
            "Topic": _topic(f"{node}/output/{camera}/anomaly_map", "Best Effort", 1),
        },
    ]


def _markers(node: str, camera: str) -> dict[str, Any]:
    return {
        "Class": "rviz_default_plugins/MarkerArray",
        "Name": f"{camera}: unknown objects",
        "Enabled": True,
        "Value": True,
        "Topic": _topic(f"{node}/output/{camera}/unknown_markers", "Reliable", 5),
    }


def _topic(name: str, reliability: str, depth: int) -> dict[str, Any]:
    return {
        "Value": name,
        "Depth": depth,
        "History Policy": "Keep Last",
        "Reliability Policy": reliability,
        "Durability Policy": "Volatile",
    }


def _view(around: bool) -> dict[str, Any]:
    """From behind and above the vehicle, or from above where cameras look around it."""
    distance, pitch, ahead = (45, 1.2, 0) if around else (25, 0.6, 10)
    return {
        "Class": "rviz_default_plugins/Orbit",
        "Name": "Current View",
        "Target Frame": "<Fixed Frame>",
        "Distance": distance,
        "Pitch": pitch,
        "Yaw": 3.1416,
        "Focal Point": {"X": ahead, "Y": 0, "Z": 0},
    }
