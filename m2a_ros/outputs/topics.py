"""Topic names of a node that runs under its default name."""

from __future__ import annotations

NODE = "/m2a"


def map_topic(camera: str, name: str) -> str:
    """Topic of an output: ``/m2a/output/<camera>/<name>``, as the node names it by default."""
    return f"{NODE}/output/{camera}/{name}"


def overlay_topic(camera: str) -> str:
    """Topic of the overlay: ``/m2a/debug/<camera>/overlay/compressed``."""
    return f"{NODE}/debug/{camera}/overlay/compressed"
