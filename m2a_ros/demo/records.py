"""What the player and the recorder note down: one CSV line per message, written as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CAMERA = "front"
FRAME_ID = "front_camera_optical"
NODE = "/m2a"
IMAGE_TOPIC = f"{NODE}/input/{CAMERA}/image"
INFO_TOPIC = f"{NODE}/input/{CAMERA}/camera_info"

ANOMALY, OPEN_SET, INSTANCES, MARKERS = "anomaly_map", "open_set_mask", "unknown_instances", "unknown_markers"
OVERLAY = "overlay"
TOPICS = {
    **{name: f"{NODE}/output/{CAMERA}/{name}" for name in (ANOMALY, OPEN_SET, INSTANCES, MARKERS)},
    OVERLAY: f"{NODE}/debug/{CAMERA}/{OVERLAY}",
}
"""The outputs that can be recorded, by short name."""

MATCH_TIMEOUT_S = 60.0
"""Finding each other takes up to 3 s on an idle machine; loading a model and a busy machine add to it."""


@dataclass(frozen=True)
class Sent:
    """A frame that was published.

    Attributes:
        stamp: nanoseconds, of its header.
        clip_frame: which frame of the clip it shows.
    """

    stamp: int
    clip_frame: int

    def line(self) -> str:
        """As a CSV line."""
        return f"{self.stamp},{self.clip_frame}\n"


@dataclass(frozen=True)
class Received:
    """An output that arrived.

    Attributes:
        output: short name of its topic.
        stamp: nanoseconds, of its header; for an empty marker array 0.
        frame_id: of its header.
        received: nanoseconds, when it came, on the clock that stamps frames.
        items: markers in it; 0 for images.
    """

    output: str
    stamp: int
    frame_id: str
    received: int
    items: int = 0

    def line(self) -> str:
        """As a CSV line; no frame id has a line end, and commas in it do no harm as it comes last."""
        return f"{self.output},{self.stamp},{self.received},{self.items},{self.frame_id}\n"


def read_sent(path: Path) -> list[Sent]:
    """Read what the player wrote; a line that is still being written is left out."""
    return [Sent(int(stamp), int(frame)) for stamp, frame in (line.split(",") for line in _whole_lines(path))]


def read_received(path: Path) -> list[Received]:
    """Read what the recorder wrote."""
    records = []
    for line in _whole_lines(path):
        output, stamp, received, items, frame_id = line.split(",", 4)
        records.append(Received(output, int(stamp), frame_id, int(received), int(items)))
    return records


def _whole_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()
