"""What of a bag m2a can use, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2a_core.errors import ConfigError
from m2a_ros.bag.calibration import FIX, ODOMETRY, read_intrinsics, read_mounting
from m2a_ros.bag.cameras import CameraTopic, Choice, NoCamera, camera_info_topic, choose
from m2a_ros.bag.reader import CAMERA_INFO, COMPRESSED, IMAGE_TYPES, Bag, UndecodableMessage
from m2a_ros.bag.suitability import TRUTH_NAMES
from m2a_ros.bag.timing import Timing, read_timing
from m2a_ros.images.decoding import decode_image_message
from m2a_ros.images.encodings import ImageError

CALIBRATED = "calibrated"


def describe(path: Path) -> dict[str, Any]:
    """Describe a bag.

    Args:
        path: bag folder or storage file.

    Returns:
        ``path``, ``distribution``, ``duration_s``, ``messages``, ``cameras`` (by topic), ``unusable`` (image topic ->
        reason), ``positions`` and ``truth`` (topic -> type), ``clock`` (topics of simulated time), ``usable_for`` (what
        m2a can do with the bag -> whether), ``other_topics`` (topic -> type) and ``missing`` (sentences).

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
        timings = {topic.topic: read_timing(bag, topic) for topic in choice.used}
        cameras = {topic.topic: _camera(bag, topic, timings[topic.topic], infos) for topic in choice.used}
        positions = _of_type(bag, (ODOMETRY, FIX))
        truth = {t: kind for t, kind in _of_type(bag, IMAGE_TYPES).items() if t.rpartition("/")[2] in TRUTH_NAMES}
        if not positions:
            missing.append(
                f"no {ODOMETRY} and no {FIX}, so events are on no map and composed objects follow the texture"
            )
        for used in choice.used:
            missing += [f"{used.topic}: {said}" for said in (*timings[used.topic].sentences(), *_types(used))]
        for topic, camera in cameras.items():
            if camera["camera_info"] and camera["calibration"] != CALIBRATED:
                missing.append(f"{topic}: {camera['calibration']}")
            if camera["camera_info"] and not camera["mounting"]:
                missing.append(f"{topic}: /tf_static does not say where it sits; give --mounting height=METRES")
            if not camera["camera_info"]:
                missing.append(f"{topic}: no {camera_info_topic(topic)}, so objects cannot be placed on the ground")
            if camera["problem"]:
                missing.append(f"{topic}: the first image cannot be used: {camera['problem']}")
        known = cameras.keys() | choice.skipped.keys() | positions.keys()
        return {
            "path": str(path),
            "distribution": bag.distribution,
            "duration_s": round(bag.duration_s, 3),
            "messages": sum(c.msgcount for c in bag.connections),
            "cameras": cameras,
            "unusable": dict(choice.skipped),
            "positions": positions,
            "truth": truth,
            "clock": sorted(_of_type(bag, ("rosgraph_msgs/msg/Clock",))),
            "usable_for": {
                "replay": bool(cameras),
                "distances": any(c["calibration"] == CALIBRATED and c["mounting"] for c in cameras.values()),
                "map": bool(positions),
                "ground truth": bool(truth),
            },
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
        lines.append(f"    {camera['calibration'] or 'no camera_info'}; mounting {camera['mounting'] or 'unknown'}")
    if not found["cameras"]:
        lines.append("  nothing")
    lines += [
        f"  {topic} ({kind}): the map, and the place of composed objects" for topic, kind in found["positions"].items()
    ]
    lines += [f"  {topic}: ground truth, for --gt-topic or --gt-instances-topic" for topic in found["truth"]]
    lines.append(
        "good for: " + ", ".join(f"{use} {'yes' if can else 'NO'}" for use, can in found["usable_for"].items())
    )
    unusable = [f"  {topic}: {why}" for topic, why in found["unusable"].items() if topic not in found["truth"]]
    if unusable:
        lines += ["not usable:", *unusable]
    if found["missing"]:
        lines += ["missing:", *(f"  {sentence}" for sentence in found["missing"])]
    if found["other_topics"]:
        lines += ["other topics:", *(f"  {topic} ({kind})" for topic, kind in found["other_topics"].items())]
    return "\n".join(lines)


def _camera(bag: Bag, topic: CameraTopic, timing: Timing, infos: set[str]) -> dict[str, Any]:
    connection = next(c for c in topic.connections if c.msgcount)
    size = encoding = problem = ""
    try:
        message = bag.first(connection)
        encoding = message.format if connection.msgtype == COMPRESSED else message.encoding
        image = decode_image_message(message).rgb
        size = f"{image.shape[1]}x{image.shape[0]}"
    except (ImageError, UndecodableMessage) as error:
        problem = str(error)
    info = camera_info_topic(topic.topic)
    calibration = mounting = None
    if info in infos and size:
        width, height = map(int, size.split("x"))
        intrinsics = read_intrinsics(bag, topic, (width, height))
        calibration = intrinsics if isinstance(intrinsics, str) else CALIBRATED
        placed = read_mounting(bag, message.header.frame_id)
        mounting = None if placed is None else f"{placed.height:.2f} m above the ground"
    return {
        "camera": topic.camera,
        "type": connection.msgtype,
        "messages": topic.count,
        "rate_hz": round(timing.rate_hz, 3),
        "size": size,
        "encoding": encoding,
        "camera_info": info if info in infos else None,
        "calibration": calibration,
        "mounting": mounting,
        "stamps": dict(timing.odd),
        "problem": problem or None,
    }


def _types(topic: CameraTopic) -> list[str]:
    """What there is to say on the types of an image topic."""
    kinds = [kind.rpartition("/")[2] for kind in topic.types]
    return [f"the topic holds {' and '.join(kinds)} messages; only mode offline reads both"] if len(kinds) > 1 else []


def _of_type(bag: Bag, kinds: Sequence[str]) -> dict[str, str]:
    return {c.topic: c.msgtype for c in bag.connections if c.msgtype in kinds and c.msgcount}
