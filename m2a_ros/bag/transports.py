"""Transports: image_transport publishes a camera's images once for each, on topics below that of the raw images."""

from __future__ import annotations

COMPRESSED_END = "/compressed"
DEPTH_END = "/compressedDepth"

UNREAD_TYPES = {
    "theora_image_transport/msg/Packet": "Theora video",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": "ffmpeg video",
    "h264_msgs/msg/Packet": "H.264 video",
    "foxglove_msgs/msg/CompressedVideo": "Foxglove video",
    "foxglove_msgs/msg/CompressedImage": "Foxglove's image type",
    "foxglove_msgs/msg/RawImage": "Foxglove's image type",
}
"""Types of images that are not read, and what they are."""

_ENDS = (COMPRESSED_END, DEPTH_END, *(f"/{name}" for name in (
    "zstd", "theora", "ffmpeg", "h264", "h265", "hevc", "av1", "avif", "webp", "jxl", "rvl", "foxglove",
)))  # fmt: skip


def base_topic(topic: str) -> str:
    """Topic of the raw images of a camera, by convention, whatever the transport of ``topic``."""
    end = next((end for end in _ENDS if topic.endswith(end) and topic != end), "")
    return topic.removesuffix(end)


def transport_of(topic: str) -> str:
    """``raw``, or the name that the topic adds to that of the raw images."""
    return topic.removeprefix(base_topic(topic)).removeprefix("/") or "raw"


def preference(topic: str) -> int:
    """Order in which a camera's topics are taken: raw, as in the node, then ``compressed``, then any other."""
    return {"raw": 0, "compressed": 1}.get(transport_of(topic), 2)
