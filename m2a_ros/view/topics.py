"""Which topics are shown."""

from __future__ import annotations

from dataclasses import dataclass

from m2a_ros.outputs.topics import TOPIC

IMAGE, COMPRESSED, MARKERS = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "visualization_msgs/msg/MarkerArray",
)
# The compressed overlay: the raw one shows the same and costs more.
_SHOWN = {
    "debug/overlay/compressed": COMPRESSED,
    "output/anomaly_map": IMAGE,
    "output/unknown_instances": IMAGE,
    "output/unknown_markers": MARKERS,
}


@dataclass(frozen=True)
class ShownTopic:
    """A topic that the viewer shows.

    Attributes:
        topic: full name.
        camera: name of the camera.
        what: its last part, such as ``anomaly_map``.
    """

    topic: str
    camera: str
    what: str


def shown_topic(topic: str, msgtype: str, cameras: tuple[str, ...], node: str | None = None) -> ShownTopic | None:
    """What a topic shows.

    Args:
        topic: full name.
        msgtype: such as ``sensor_msgs/msg/Image``.
        cameras: the cameras to show; () for all.
        node: full name of the node to show; None for any.

    Returns:
        None for a topic that is not shown.
    """
    match = TOPIC.fullmatch(topic)
    if not match or _SHOWN.get(f"{match['side']}/{match['rest']}") != msgtype:
        return None
    if (cameras and match["camera"] not in cameras) or (node is not None and match["node"] != node):
        return None
    return ShownTopic(topic, match["camera"], match["rest"].removesuffix("/compressed"))
