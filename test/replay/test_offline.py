"""m2a replay --mode offline: what a whole bag gives."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin
from sensor_msgs.msg import CompressedImage, Image

from m2a_core.perception import Perception
from m2a_core.types import Frame, OpenSetResult
from test.replay.bags import FRAME_ID, START, STEP, TOPIC, compressed, drive, raw, scene, write_bag

ROOT = Path(__file__).resolve().parents[2]


def expected_arrays(result: OpenSetResult) -> dict[str, np.ndarray]:
    """What the node's manual promises on each topic."""
    return {
        "anomaly_map": np.clip(result.anomaly, 0, 1),
        "open_set_mask": result.open_set,
        "panoptic": result.panoptic.astype(np.uint16),
        "unknown_instances": result.unknown_instances,
    }


def expected_hash(result: OpenSetResult) -> str:
    text = b"".join(
        f"{name} {values.dtype.str} {list(values.shape)}\n".encode() + values.tobytes()
        for name, values in expected_arrays(result).items()
    )
    return hashlib.sha256(text).hexdigest()


@pytest.fixture(scope="module")
def results(tiny):
    """The model's answers on ``scene(0)``, ``scene(4)``, ..."""
    perception = Perception.load(tiny, threads=1)
    return [perception.infer(Frame(scene(4 * i))) for i in range(5)]


def test_every_frame_has_its_record_with_the_hash_of_what_the_model_says(replay, tmp_path, results):
    done = replay(drive(tmp_path / "drive"))
    assert done.code == 0
    assert [set(frame) for frame in done.frames] == [
        {"stamp_ns", "frame_id", "camera", "hash", "latencies_ms", "unknown_instances"}
    ] * 5
    assert [frame["stamp_ns"] for frame in done.frames] == [START + i * STEP for i in range(5)]
    assert {(frame["frame_id"], frame["camera"]) for frame in done.frames} == {(FRAME_ID, "cam_front")}
    assert done.hashes == [expected_hash(result) for result in results]
    assert len(set(done.hashes)) == 5
    assert [frame["unknown_instances"] for frame in done.frames] == [len(result.instances) for result in results]
    assert sum(len(result.instances) for result in results) >= 5
    for frame in done.frames:
        assert set(frame["latencies_ms"]) == {"decode", "preprocess", "network", "heads"}
    assert not (done.out / ".work").exists()


@pytest.mark.slow
@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_two_runs_raw_and_compressed_and_both_storages_give_the_same_hashes(replay, tmp_path, results, storage):
    frames = [compressed(scene(4 * i), i) for i in range(5)]
    png = replay(write_bag(tmp_path / "png", frames, storage), out="png")
    bag = drive(tmp_path / "raw", storage=storage)
    first, second = replay(bag, out="first"), replay(bag, out="second")
    assert first.hashes == second.hashes == png.hashes == [expected_hash(result) for result in results]
    assert first.summary["hash"] == second.summary["hash"]


def test_output_bag_holds_the_nodes_messages_as_ros_itself_decodes_them(replay, tmp_path, results):
    done = replay(drive(tmp_path / "drive"))
    with AnyReader([done.out / "drive" / "bag"]) as reader:
        messages = {c.topic: [] for c in reader.connections}
        for connection, recorded, data in reader.messages():
            messages[connection.topic].append((recorded, bytes(data)))
        (class_map,) = messages.pop("/m2a/output/cam_front/label_info")
        assert b'"class_name": "unknown"' in class_map[1]
    overlays = messages.pop("/m2a/debug/cam_front/overlay/compressed")
    assert set(messages) == {f"/m2a/output/cam_front/{name}" for name in expected_arrays(results[0])}
    for topic, stored in messages.items():
        assert [recorded for recorded, _ in stored] == [START + i * STEP for i in range(5)]
        for (recorded, data), result in zip(stored, results, strict=True):
            message = deserialize_message(data, Image)
            want = expected_arrays(result)[topic.rpartition("/")[2]]
            assert message.encoding == {"float32": "32FC1", "uint8": "mono8", "uint16": "16UC1"}[want.dtype.name]
            assert (message.header.frame_id, message.header.stamp.sec * 10**9 + message.header.stamp.nanosec) == (
                FRAME_ID,
                recorded,
            )
            assert np.array_equal(np.frombuffer(message.data, want.dtype).reshape(message.height, -1), want)
    assert len(overlays) == 5
    picture = cv2.imdecode(np.frombuffer(deserialize_message(overlays[0][1], CompressedImage).data, np.uint8), 1)
    assert picture.shape == (96, 128, 3)


def test_video_shows_every_frame_at_the_cameras_rate(replay, tmp_path):
    done = replay(drive(tmp_path / "drive"))
    video = cv2.VideoCapture(str(done.out / "drive" / "overlay_cam_front.webm"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    pictures = []
    while (read := video.read())[0]:
        pictures.append(read[1])
    # The legend stands below.
    (shape,) = {picture.shape for picture in pictures}
    assert (len(pictures), shape[1], shape[0] > 96) == (5, 128, True)
    # Blue sky above, the unknown object (orange over red) below: colours as they are, not swapped.
    assert pictures[0][10, 100].argmax() == 0
    assert pictures[0][68, 16].argmax() == 2


@pytest.mark.slow
def test_several_cameras_and_several_bags(replay, tmp_path):
    both = [raw(scene(0), i, f"/cam/{name}/image_raw") for i in range(3) for name in ("left", "right")]
    done = replay(write_bag(tmp_path / "a", both), drive(tmp_path / "b", 2))
    assert done.code == 0
    assert [frame["camera"] for frame in done.frames] == ["cam_left", "cam_right"] * 3 + ["cam_front"] * 2
    assert [(bag["name"], bag["evaluated"]) for bag in done.summary["bags"]] == [("a", 6), ("b", 2)]
    assert (done.out / "a" / "overlay_cam_right.webm").is_file()


def test_topics_can_be_chosen_and_named(replay, tmp_path):
    both = [raw(scene(0), i, f"/cam/{name}/image_raw") for i in range(2) for name in ("left", "right")]
    done = replay(write_bag(tmp_path / "a", both), "--topic", "/cam/right/image_raw=back")
    assert [frame["camera"] for frame in done.frames] == ["back"] * 2
    assert done.summary["bags"][0]["skipped_topics"] == {"/cam/left/image_raw": "not named by --topic"}


def test_what_is_no_camera_image_is_left_out_and_said(replay, tmp_path, capsys):
    messages = [
        raw(scene(0), 0),
        raw(scene(0), 0, "/cam/front/depth", encoding="32FC1"),
        compressed(scene(0), 0),
        raw(scene(0), 0, "/m2a/output/front/open_set_mask"),
    ]
    done = replay(write_bag(tmp_path / "a", messages))
    assert [frame["camera"] for frame in done.frames] == ["cam_front"]
    skipped = done.summary["bags"][0]["skipped_topics"]
    assert "32FC1" in skipped["/cam/front/depth"]
    assert TOPIC in skipped[TOPIC + "/compressed"]
    assert "m2a" in skipped["/m2a/output/front/open_set_mask"]
    assert "/cam/front/depth left out" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_replay_goes_on_and_ends_as_one_that_was_not(replay, tiny, tmp_path):
    bag = drive(tmp_path / "drive", 120)
    whole = replay(bag, out="whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "m2a_ros.main", "replay", str(bag), "--model", str(tiny), "--threads", "1"]
    process = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (out / ".work" / "drive" / "000000").is_dir():
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "summary.json").exists()
    assert not (out / "frames.jsonl").exists()
    part = (out / ".work" / "drive" / "000000" / "frames.jsonl").read_text()
    resumed = replay(bag, out="killed")
    assert (resumed.code, len(resumed.frames)) == (0, 120)
    assert resumed.hashes == whole.hashes
    # Latencies and all: what was finished was not evaluated again.
    assert (resumed.out / "frames.jsonl").read_text().startswith(part)
    assert resumed.summary["hash"] == whole.summary["hash"]
    with AnyReader([out / "drive" / "bag"]) as reader:
        assert {c.topic: c.msgcount for c in reader.connections}["/m2a/output/cam_front/panoptic"] == 120


def test_finished_replay_is_not_done_again(replay, tmp_path, capsys):
    bag = drive(tmp_path / "drive", 2)
    first = replay(bag)
    written = (first.out / "frames.jsonl").stat().st_mtime_ns
    printed = capsys.readouterr().out
    assert replay(bag).code == 0
    assert capsys.readouterr().out == printed
    assert (first.out / "frames.jsonl").stat().st_mtime_ns == written


def test_folder_of_another_replay_is_refused(replay, tmp_path, capsys):
    replay(drive(tmp_path / "a", 2))
    assert replay(drive(tmp_path / "b", 2)).code == 2
    assert "differs in bags" in capsys.readouterr().err


@pytest.mark.slow
def test_needs_no_ros_and_no_torch(tiny, tmp_path):
    bag = drive(tmp_path / "drive", 1)
    program = (
        "import sys\nfrom m2a_ros.main import main\n"
        "code = main(['replay', *sys.argv[1:]])\n"
        "print(code, sorted({'rclpy', 'sensor_msgs', 'std_msgs', 'torch', 'onnx'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(bag), "--model", str(tiny), "--out", str(tmp_path / "out")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 []"
