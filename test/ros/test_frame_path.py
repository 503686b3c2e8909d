"""The way of one frame through the files, traced in a running node; docs/architecture.md draws it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from m2a_core.perception.task import PerceptionTask
from m2a_core.stream.camera_stream import PreparedFrame, StreamResult
from m2a_core.types import Frame, OpenSetResult
from m2a_ros.camera.frame_slot import ReceivedImage
from m2a_ros.images.serialized import ImageView
from m2a_ros.node.pipeline import FrameJob
from test.packaging.test_architecture import FILES
from test.ros.in_process import RED_BOX, Nodes
from test.ros.messages import camera_info, image, scene

ROOT = Path(__file__).resolve().parents[2]
IN, OUT = "/m2a/input/front", "/m2a/output/front"
CARRIERS = (
    Image,
    ImageView,
    ReceivedImage,
    FrameJob,
    Frame,
    PreparedFrame,
    PerceptionTask,
    OpenSetResult,
    StreamResult,
)
"""What a frame is, from the message to what is published of it."""
LARGEST_WAY = 15


class Trace:
    """Files of ours that run, and those of them whose functions are handed a frame."""

    def __init__(self) -> None:
        self.is_recording = False
        self.run: set[str] = set()
        self.handed: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if not self.is_recording or event != "call":
            return
        code, path = frame.f_code, Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ("m2a_core", "m2a_ros"):
            name = str(path.relative_to(ROOT))
            self.run.add(name)
            given = (frame.f_locals.get(v) for v in code.co_varnames[: code.co_argcount] if v != "self")
            if any(isinstance(value, CARRIERS) for value in given):
                self.handed.add(name)


@pytest.fixture
def trace() -> Iterator[Trace]:
    made = Trace()
    # For the node's threads, which begin later.
    threading.setprofile(made)
    sys.setprofile(made)
    yield made
    sys.setprofile(None)
    threading.setprofile(None)


def test_a_frame_s_way_is_the_diagram_s_and_short(trace: Trace, nodes: Nodes) -> None:
    node = nodes.start(extrinsics="parameters")
    markers = nodes.listen(f"{OUT}/unknown_markers", MarkerArray)
    nodes.listen(f"{OUT}/open_set_mask", Image)
    nodes.send(f"{IN}/camera_info", camera_info(128, 96, 100.0))
    nodes.until(lambda: node.inputs["front"].camera_info)
    stamps = iter(range(1, 10_000))

    def send() -> None:
        nodes.send(f"{IN}/image", image(scene(RED_BOX), next(stamps)))

    # Until the track is confirmed, and everything has been made that the first frames make.
    nodes.until(
        lambda: markers and markers[-1].markers, lambda: nodes.send(f"{IN}/image", image(scene(RED_BOX), next(stamps)))
    )
    markers.clear()
    trace.is_recording = True
    nodes.until(
        lambda: markers and markers[-1].markers, lambda: nodes.send(f"{IN}/image", image(scene(RED_BOX), next(stamps)))
    )
    trace.is_recording = False
    drawn = set(FILES.values())
    assert trace.handed - drawn == set(), "handed a frame and not drawn in docs/architecture.md"
    assert drawn - trace.run == set(), "drawn, and no frame comes there"
    assert len(trace.handed) <= len(drawn) <= LARGEST_WAY
