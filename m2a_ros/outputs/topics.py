"""Topic names of a node."""

from __future__ import annotations

import re
from collections.abc import Collection

NODE = "/m2a"
"""Its default name."""

TOPIC = re.compile(r"(?P<node>.*)/(?P<side>output|debug)/(?P<camera>[A-Za-z_]\w*)/(?P<rest>.+)")
"""What a node of any name publishes of a camera."""


def map_topic(camera: str, name: str) -> str:
    """Topic of an output: ``/m2a/output/<camera>/<name>``, as the node names it by default."""
    return f"{NODE}/output/{camera}/{name}"


def overlay_topic(camera: str) -> str:
    """Topic of the overlay: ``/m2a/debug/<camera>/overlay/compressed``."""
    return f"{NODE}/debug/{camera}/overlay/compressed"


def is_output(topic: str, topics: Collection[str]) -> bool:
    """Whether a node of m2a publishes a topic: beside its outputs of a camera is their ``label_info``.

    Args:
        topic: its name.
        topics: names of all topics that have a publisher.
    """
    match = TOPIC.fullmatch(topic)
    return match is not None and f"{match['node']}/output/{match['camera']}/label_info" in topics
