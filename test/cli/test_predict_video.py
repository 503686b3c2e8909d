"""m2a predict on a video file and on a network stream: tracked objects per frame, and an overlay that plays."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.cli.main import main
from m2a_core.stream.video_source import VideoSource, is_video
from test.stream.mjpeg import mjpeg_camera

FRAMES = 6
CALIBRATION = """
image_width: 128
image_height: 96
distortion_model: plumb_bob
camera_matrix: {rows: 3, cols: 3, data: [100, 0, 64, 0, 100, 48, 0, 0, 1]}
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


def scene(shift: int) -> np.ndarray:
    """BGR: blue sky, green road, a red object."""
    bgr = np.zeros((96, 128, 3), np.uint8)
    bgr[:48], bgr[48:] = (255, 0, 0), (0, 255, 0)
    bgr[56:80, 8 + shift : 40 + shift] = (0, 0, 255)
    return bgr


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 10.0, (128, 96))
    assert writer.isOpened(), "OpenCV writes FFV1 without loss"
    for number in range(FRAMES):
        writer.write(scene(2 * number))
    writer.release()
    return path


def predict(tiny: Path, out: Path, *arguments: object) -> int:
    return main(["predict", "--model", str(tiny), "--out", str(out), "--threads", "1", *map(str, arguments)])


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_video_gives_tracked_objects_per_frame_and_an_overlay(tiny, video, tmp_path):
    assert predict(tiny, tmp_path, video) == 0
    lines = records(tmp_path / "drive.jsonl")
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert [line["stamp_ns"] for line in lines] == [100_000_000 * i for i in range(FRAMES)]
    # Confirmed in the second frame; one id from there on.
    assert [[item["id"] for item in line["objects"]] for line in lines] == [[], *[[1]] * (FRAMES - 1)]
    assert lines[-1]["objects"][0]["position_m"] is None
    (overlay,) = tmp_path.glob("drive_overlay.*")
    played = VideoSource(str(overlay))
    assert sum(1 for _ in played.frames()) == FRAMES


def test_a_video_that_is_cut_short_is_said_to_be(tiny, video, tmp_path, capsys):
    content = video.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: (content.index(b"movi") + content.index(b"idx1")) // 2])
    assert predict(tiny, tmp_path, cut) == 0
    assert 0 < len(records(tmp_path / "cut.jsonl")) < FRAMES
    assert f"where it states {FRAMES} (is it cut short?)" in capsys.readouterr().out
    assert predict(tiny, tmp_path, video, "--frames", 1) == 0
    assert "cut short" not in capsys.readouterr().out


def test_videos_that_would_overwrite_each_other_are_refused_before_any_work(tiny, video, tmp_path, capsys):
    other = tmp_path / "other" / video.name
    other.parent.mkdir()
    other.write_bytes(video.read_bytes())
    assert predict(tiny, tmp_path / "out", video, other) == 2
    error = capsys.readouterr().err
    assert f"{video} and {other} would both be written as {video.stem}.jsonl" in error
    assert not (tmp_path / "out").exists()


def test_with_a_calibration_objects_have_a_place_in_metres(tiny, video, tmp_path):
    calibration = tmp_path / "camera.yaml"
    calibration.write_text(CALIBRATION)
    for height, out in ((1.0, "low"), (2.0, "high")):
        given = ("--calibration", calibration, "--mounting", f"height={height}", "--frames", 3)
        assert predict(tiny, tmp_path / out, video, *given) == 0
    low, high = (records(tmp_path / out / "drive.jsonl") for out in ("low", "high"))
    assert len(low) == 3
    assert high[-1]["objects"][0]["distance_m"] == pytest.approx(2 * low[-1]["objects"][0]["distance_m"], rel=1e-3)


def test_a_network_stream_is_read_live(tiny, tmp_path):
    with mjpeg_camera(lambda: (scene(number % 8) for number in count())) as stream:
        assert predict(tiny, tmp_path, stream, "--frames", 2) == 0
    (path,) = tmp_path.glob("*.jsonl")
    lines = records(path)
    assert len(lines) == 2
    assert lines[0]["stamp_ns"] > 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("a.mp4", True), ("A.MKV", True), ("0", True), ("rtsp://u:p@host:554/x", True), ("a.png", False), ("dir", False)],
)
def test_a_video_is_told_by_the_form_of_its_name(argument, expected):
    assert is_video(argument) is expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.mp4"], ["missing.mp4", "no such video file"]),
        (["99"], ["99", "camera"]),
        (["{video}", "--frames", "0"], ["--frames 0"]),
        (["{video}", "--mounting", "height=1"], ["--calibration"]),
        (["{image}", "--frames", "3"], ["--frames", "only for a video"]),
        (["{video}", "--calibration", "{text}"], ["text.mp4", "camera_matrix"]),
        (["{text}"], ["text.mp4", "cannot open"]),
    ],
)
def test_what_cannot_be_is_said(tiny, video, tmp_path, capfd, arguments, words):
    (tmp_path / "text.mp4").write_text("no video")
    cv2.imwrite(str(tmp_path / "a.png"), scene(0))
    paths = {"video": video, "image": tmp_path / "a.png", "text": tmp_path / "text.mp4"}
    assert predict(tiny, tmp_path / "out", *(argument.format(**paths) for argument in arguments)) == 2
    error = capfd.readouterr().err
    assert all(word in error for word in words), error
    assert "Traceback" not in error
