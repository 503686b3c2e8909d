"""Which topics of a bag are cameras, and what the cameras are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rosbags.interfaces import Connection

from m2a_core.errors import ConfigError, DataError
from m2a_ros.bag.reader import IMAGE_TYPES, Bag
from m2a_ros.bag.suitability import NOT_READ, TRUTH, why_no_camera
from m2a_ros.bag.transports import UNREAD_TYPES, base_topic, preference

_IMAGE_NAMES = ("image", "image_raw", "image_color", "image_mono", "image_rect", "image_rect_color")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NAME = 64


class NoCamera(DataError):
    """No topic of a bag holds camera images.

    Attributes:
        skipped: the image topics with the reason.
    """

    def __init__(self, message: str, skipped: Mapping[str, str]) -> None:
        """Set the reasons beside the message."""
        super().__init__(message)
        self.skipped = skipped


@dataclass(frozen=True)
class CameraTopic:
    """An image topic that is evaluated.

    Attributes:
        topic: its name.
        camera: name of the camera.
        connections: its entries in the bag; more than one where its publishers differed in their QoS or type.
    """

    topic: str
    camera: str
    connections: tuple[Connection, ...]

    @property
    def count(self) -> int:
        """Messages on it."""
        return sum(connection.msgcount for connection in self.connections)

    @property
    def types(self) -> tuple[str, ...]:
        """Types of its messages; a node's topic has one, a bag's may change."""
        return tuple(dict.fromkeys(c.msgtype for c in self.connections if c.msgcount))


@dataclass(frozen=True)
class Choice:
    """The image topics of a bag.

    Attributes:
        used: topics to evaluate.
        skipped: image topics that are not, with the reason.
    """

    used: tuple[CameraTopic, ...]
    skipped: Mapping[str, str]


def parse_topics(arguments: Sequence[str]) -> dict[str, str]:
    """Read ``TOPIC`` or ``TOPIC=CAMERA`` arguments: topic -> camera.

    Raises:
        ConfigError: a name is not a topic token, or two topics stand for one camera.
    """
    wanted: dict[str, str] = {}
    for argument in arguments:
        topic, _, name = argument.partition("=")
        camera = name or camera_name(topic)
        if not topic.startswith("/") or not _NAME.fullmatch(camera):
            raise ConfigError(f"--topic {argument}: expected /TOPIC or /TOPIC=CAMERA, CAMERA of letters, digits and _")
        if camera in wanted.values() or topic in wanted:
            raise ConfigError(f"--topic {argument}: topic or camera '{camera}' is named twice; use /TOPIC=CAMERA")
        wanted[topic] = camera
    return wanted


def camera_name(topic: str) -> str:
    """Name of a camera after its topic: ``/car/front/image_raw/compressed`` gives ``car_front``.

    At most ``_MAX_NAME`` characters, the last ones of the topic: files are named after cameras.
    """
    parts = [part for part in base_topic(topic).split("/") if part]
    if len(parts) > 1 and parts[-1] in _IMAGE_NAMES:
        parts.pop()
    name = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(parts))[-_MAX_NAME:]
    return name if _NAME.fullmatch(name) else f"camera_{name}"


def choose(bag: Bag, wanted: Mapping[str, str], labels: Collection[str] = ()) -> Choice:
    """Choose the image topics to evaluate.

    Args:
        bag: the bag.
        wanted: topic -> camera, or empty for every camera with colour or grey images. Of the transports of a camera
            the first that can be read is taken: raw, as the node does, then compressed.
        labels: topics that hold ground truth.

    Raises:
        DataError: a wanted topic is missing or no image topic, or the bag is damaged.
        NoCamera: none is wanted and none can be used.
        ConfigError: two topics would have the same camera name.
    """
    images = image_topics(bag)
    if wanted:
        missing = sorted(wanted.keys() - images.keys())
        if missing:
            raise DataError(f"bag {bag.path}: no images on {', '.join(missing)}; {_found(bag, images)}")
        for connection in (c for topic in wanted for c in images[topic]):
            bag.check_definition(connection)
        for topic in wanted:
            reason = why_no_camera(bag, topic, images[topic])
            if reason is not None and reason.endswith(NOT_READ):
                raise DataError(f"bag {bag.path}: {topic}: {reason}; name another topic of the camera, or record one")
        skipped = dict.fromkeys(sorted(images.keys() - wanted.keys()), "not named by --topic")
        return Choice(tuple(CameraTopic(topic, name, images[topic]) for topic, name in wanted.items()), skipped)
    skipped = _unread(bag)
    usable: dict[str, list[str]] = {}
    for topic in sorted(images):
        reason = TRUTH if topic in labels else why_no_camera(bag, topic, images[topic])
        if reason is None:
            usable.setdefault(base_topic(topic), []).append(topic)
        else:
            skipped[topic] = reason
    used: dict[str, CameraTopic] = {}
    for topics in usable.values():
        topic, *others = sorted(topics, key=preference)
        skipped |= dict.fromkeys(others, f"the same camera is on {topic}")
        camera = camera_name(topic)
        if camera in used:
            raise ConfigError(
                f"bag {bag.path}: {used[camera].topic} and {topic} would both be camera '{camera}'; "
                "name them with --topic /TOPIC=CAMERA"
            )
        used[camera] = CameraTopic(topic, camera, images[topic])
    if not used:
        raise NoCamera(f"bag {bag.path}: no topic with camera images; {_found(bag, skipped)}", skipped)
    return Choice(tuple(used.values()), skipped)


def camera_info_topic(topic: str) -> str:
    """Where the calibration of an image topic's camera is by convention: ``camera_info`` beside the images."""
    return base_topic(topic).rpartition("/")[0] + "/camera_info"


def image_topics(bag: Bag) -> dict[str, tuple[Connection, ...]]:
    """Topics of image messages and their entries in the bag."""
    found: dict[str, tuple[Connection, ...]] = {}
    for connection in bag.connections:
        if connection.msgtype in IMAGE_TYPES:
            found[connection.topic] = (*found.get(connection.topic, ()), connection)
    return found


def _unread(bag: Bag) -> dict[str, str]:
    """Topics of images of types that are not read, with the reason."""
    return {
        c.topic: f"{UNREAD_TYPES[c.msgtype]}, {NOT_READ}"
        for c in bag.connections
        if c.msgtype in UNREAD_TYPES and c.msgcount
    }


def _found(bag: Bag, images: Mapping[str, object]) -> str:
    topics = [f"{t}: {why}" if isinstance(why, str) else t for t, why in sorted(images.items())]
    if topics:
        return f"image topics are {'; '.join(topics)}"
    others = sorted({f"{c.topic} ({c.msgtype})" for c in bag.connections})
    return f"the bag holds {', '.join(others[:12]) or 'no topics'}{' ...' if len(others) > 12 else ''}"
