"""Frames of a video file: all of them, in their colours, stamped by its rate; of a live source the latest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.errors import DataError
from m2a_core.stream.video_source import VideoSource, source_name
from test.stream.mjpeg import mjpeg_camera

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
"""RGB of the frames."""


def video(path: Path, rate: float, count: int = 3) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), COLOURS[number % 3][::-1], np.uint8))
    writer.release()
    return str(path)


@pytest.mark.parametrize(("stated", "taken"), [(1.0, 1.0), (30.0, 30.0), (240.0, 240.0), (500.0, 25.0)])
def test_a_file_gives_every_frame_stamped_by_its_rate(tmp_path: Path, stated: float, taken: float) -> None:
    with VideoSource(video(tmp_path / "drive.avi", stated)) as source:
        frames = list(source.frames())
    assert (source.rate, source.count, source.name, source.is_live, source.dropped) == (taken, 3, "drive", False, 0)
    assert [frame.stamp_ns for frame in frames] == [round(number * 10**9 / taken) for number in range(3)]
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert frame.camera == frame.frame_id == "drive"
        np.testing.assert_allclose(frame.image.mean((0, 1)), colour, atol=12)


def test_a_file_without_a_frame_is_named(tmp_path: Path) -> None:
    path = video(tmp_path / "one.avi", 25.0, 1)
    with VideoSource(path) as source:
        assert len(list(source.frames())) == 1
        with pytest.raises(DataError, match=r"one\.avi: no frame can be read"):
            list(source.frames())


def test_frames_that_no_image_may_have_are_refused(tmp_path: Path) -> None:
    ok, jpeg = cv2.imencode(".jpg", np.zeros((12_000, 12_000), np.uint8))
    assert ok
    (tmp_path / "huge.mjpeg").write_bytes(jpeg.tobytes() * 2)
    with pytest.raises(DataError, match="frames of 12000x12000, expected at most 134217728 pixels"):
        VideoSource(str(tmp_path / "huge.mjpeg"))


def test_who_logs_in_to_a_stream_is_not_shown() -> None:
    with pytest.raises(DataError) as caught:
        VideoSource("rtsp://user:p@ss@127.0.0.1:1/live@0")
    assert str(caught.value).startswith("rtsp://127.0.0.1:1/live@0: ")


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("0", "camera0"),
        ("12", "camera12"),
        ("rtsp://user:p@ss@camera.example:554/live/0", "camera.example_554"),
        ("http://camera.example/video.mjpg", "camera.example"),
        ("udp://239.0.0.1:1234", "239.0.0.1_1234"),
        ("drives/a.b.mp4", "a.b"),
    ],
)
def test_a_source_is_named_after_its_camera_host_or_file(argument: str, name: str) -> None:
    assert source_name(argument) == name


@pytest.fixture
def stream() -> Iterator[str]:
    """Three pictures and the end."""
    with mjpeg_camera(lambda: (np.full((48, 64, 3), colour[::-1], np.uint8) for colour in COLOURS)) as address:
        yield address


def test_a_live_source_gives_the_latest_frame_and_counts_those_before(stream: str) -> None:
    before = time.time_ns()
    with VideoSource(stream) as source:
        assert source._thread is not None  # noqa: SLF001 - until it has received all, nothing is asked for
        source._thread.join(20.0)  # noqa: SLF001
        frames = list(source.frames())
    assert source.is_live
    assert source.count is None
    assert len(frames) == 1
    assert source.dropped == 2
    assert before < frames[0].stamp_ns < time.time_ns()
    np.testing.assert_allclose(frames[0].image.mean((0, 1)), COLOURS[-1], atol=12)
