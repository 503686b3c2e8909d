"""Whether an image topic of a bag holds pictures of a camera, told from its first message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rosbags.interfaces import Connection

from m2a_core.errors import quoted
from m2a_ros.bag.reader import COMPRESSED, Bag, UndecodableMessage
from m2a_ros.bag.transports import DEPTH_END, base_topic, transport_of
from m2a_ros.images.compressed_format import COMPRESSED_DEPTH, parse_format
from m2a_ros.images.decoding import decode_compressed, decode_image_message, looks_like
from m2a_ros.images.encodings import ImageError
from m2a_ros.outputs.output_spec import MAPS

TRUTH_NAMES = ("anomaly_labels", "instance_ids")
"""Last part of the topics of labels and instance ids that ``m2a bag make`` writes: ``/m2a/truth/<camera>/...``."""

TRUTH = "ground truth"
NOT_READ = "which is not read"
"""How the reason ends for a codec or transport that no message of a topic can be decoded of."""

_OWN_OUTPUTS = {spec.topic for spec in MAPS} | {"overlay"}
_NO_COLOUR = ("unknown_encoding", "unconvertible")
_DEPTH_WORDS = ("depth", "disparity")
_DEPTH = "depth images"


def why_no_camera(bag: Bag, topic: str, connections: Sequence[Connection]) -> str | None:
    """Why an image topic holds no camera images, or None.

    A damaged first message is not a reason: the replay counts and reports it.

    Args:
        bag: the bag.
        topic: the topic.
        connections: its entries in the bag.

    Raises:
        DataError: the bag is damaged, or recorded another definition of the type.
    """
    filled = next((connection for connection in connections if connection.msgcount), None)
    if filled is None:
        return "no messages"
    name = base_topic(topic).rpartition("/")[2]
    if name in _OWN_OUTPUTS:
        return "an output of m2a"
    if name in TRUTH_NAMES:
        return TRUTH
    extension: Any = filled.ext
    if (serialization := extension.serialization_format) != "cdr":
        return f"serialised as {serialization}, and cdr is read"
    for connection in connections:
        bag.check_definition(connection)
    try:
        message = bag.first(filled)
    except UndecodableMessage:
        return None
    return _compressed(topic, message) if filled.msgtype == COMPRESSED else _raw(topic, message)


def _raw(topic: str, message: Any) -> str | None:
    try:
        decode_image_message(message)
    except ImageError as error:
        return f"no camera image: encoding {quoted(message.encoding)}" if error.reason in _NO_COLOUR else None
    return _DEPTH if message.encoding == "mono16" and _says_depth(topic) else None


def _compressed(topic: str, message: Any) -> str | None:
    form = parse_format(message.format)
    if form.codec == COMPRESSED_DEPTH or topic.endswith(DEPTH_END):
        return _DEPTH
    transport = transport_of(topic)
    try:
        pixels, encoding, _ = decode_compressed(message)
    except ImageError as error:
        if error.reason in _NO_COLOUR:
            return f"no camera image: format {quoted(message.format.strip())}"
        codec = form.codec if not form.is_readable else looks_like(bytes(message.data))
        if codec or transport not in ("raw", "compressed"):
            return f"transport {transport if transport not in ('raw', 'compressed') else codec}, {NOT_READ}"
        return None
    return _DEPTH if encoding == "mono16" and pixels.ndim == 2 and _says_depth(topic) else None


def _says_depth(topic: str) -> bool:
    """Whether 16 bits of grey are depth by their topic: nothing else tells."""
    return any(word in topic.lower() for word in _DEPTH_WORDS)
