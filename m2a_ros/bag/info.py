"""What of a bag m2a can use, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m2a_core.errors import ConfigError
from m2a_ros.conversions import compressed_to_rgb, image_to_rgb
from m2a_ros.encodings import ImageError
from m2a_ros.replay.cameras import CameraTopic, Choice, NoCamera, camera_info_topic, choose
from m2a_ros.replay.reader import CAMERA_INFO, COMPRESSED, Bag, UndecodableMessage


def describe(path: Path) -> dict[str, Any]:
    """Describe a bag.

    Args:
        path: bag folder or storage file.

    Returns:
        ``path``, ``distribution``, ``duration_s``, ``messages``, ``cameras`` (by topic), ``unusable`` (image topic ->
        reason), ``other_topics`` (topic -> type) and ``missing`` (sentences).

    Raises:
        DataError: the bag cannot be read.
    """
    with Bag(path) as bag:
        missing: list[str] = []
        try:
            choice = choose(bag, {})
        except (ConfigError, NoCamera) as error:
            missing.append(str(error))
            choice = Choice((), error.skipped if isinstance(error, NoCamera) else {})
        infos = {c.topic for c in bag.connections if c.msgtype == CAMERA_INFO and c.msgcount}
        cameras = {topic.topic: _camera(bag, topic, infos) for topic in choice.used}
        for topic, camera in cameras.items():
            if not camera["camera_info"]:
                missing.append(f"{topic}: no {camera_info_topic(topic)}, so nothing can be placed on the ground")
            if camera["problem"]:
                missing.append(f"{topic}: the first image cannot be used: {camera['problem']}")
        known = cameras.keys() | choice.skipped.keys()
        return {
            "path": str(path),
            "distribution": bag.distribution,
            "duration_s": round(bag.duration_s, 3),
            "messages": sum(c.msgcount for c in bag.connections),
            "cameras": cameras,
            "unusable": dict(choice.skipped),
            "other_topics": {c.topic: c.msgtype for c in bag.connections if c.topic not in known},
            "missing": missing,
        }


def in_words(found: Mapping[str, Any]) -> str:
    """A description for the terminal."""
    recorded = f", recorded by {found['distribution']}" if found["distribution"] else ""
    lines = [f"{found['path']}: {found['messages']} messages in {found['duration_s']:.1f} s{recorded}", "usable:"]
    for topic, camera in found["cameras"].items():
        lines.append(
            f"  {topic} as camera '{camera['camera']}': {camera['messages']} images, {camera['rate_hz']:.1f} Hz, "
            f"{camera['size']} {camera['encoding']}"
        )
    if not found["cameras"]:
        lines.append("  nothing")
    if found["unusable"]:
        lines += ["not usable:", *(f"  {topic}: {reason}" for topic, reason in found["unusable"].items())]
    if found["missing"]:
        lines += ["missing:", *(f"  {sentence}" for sentence in found["missing"])]
    if found["other_topics"]:
        lines += ["other topics:", *(f"  {topic} ({kind})" for topic, kind in found["other_topics"].items())]
    return "\n".join(lines)


def _camera(bag: Bag, topic: CameraTopic, infos: set[str]) -> dict[str, Any]:
    connection = next(c for c in topic.connections if c.msgcount)
    size = encoding = problem = ""
    try:
        message = bag.first(connection)
        compressed = connection.msgtype == COMPRESSED
        encoding = message.format if compressed else message.encoding
        image = compressed_to_rgb(message) if compressed else image_to_rgb(message)
        size = f"{image.shape[1]}x{image.shape[0]}"
    except (ImageError, UndecodableMessage) as error:
        problem = str(error)
    info = camera_info_topic(topic.topic)
    return {
        "camera": topic.camera,
        "type": connection.msgtype,
        "messages": topic.count,
        "rate_hz": round((topic.count - 1) / bag.duration_s, 3) if bag.duration_s else 0.0,
        "size": size,
        "encoding": encoding,
        "camera_info": info if info in infos else None,
        "problem": problem or None,
    }
