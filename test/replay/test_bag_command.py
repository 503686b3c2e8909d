"""m2a bag info and m2a bag make."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from m2a_core.compose.clip import load_clip
from m2a_ros.bag.frames import stamp_of
from m2a_ros.bag.make import ROUNDS_WITH_TRUTH, make_looped_bag
from m2a_ros.bag.reader import COMPRESSED, Bag, decode
from m2a_ros.main import main
from m2a_ros.process.shared_files import shared_file
from test.replay.bags import TOPIC, compressed, drive, raw, scene, write_bag

CLIP = shared_file("config/demo/clip.yaml").parent


def test_info_says_what_is_usable_and_what_is_missing(tmp_path, capsys):
    messages = [raw(scene(0), i) for i in range(5)]
    messages += [compressed(scene(0), 0), raw(scene(0), 0, "/cam/front/depth", encoding="32FC1")]
    bag = write_bag(tmp_path / "a", messages)
    assert main(["bag", "info", str(bag), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["messages"] == 7
    assert found["cameras"] == {
        TOPIC: {
            "camera": "cam_front",
            "type": "sensor_msgs/msg/Image",
            "messages": 5,
            "rate_hz": 25.0,
            "size": "128x96",
            "encoding": "rgb8",
            "camera_info": None,
            "calibration": None,
            "mounting": None,
            "problem": None,
            "stamps": {"going_back": 0, "repeated": 0, "gaps": 0, "jumps": 0},
        }
    }
    assert set(found["unusable"]) == {TOPIC + "/compressed", "/cam/front/depth"}
    assert any("/cam/front/camera_info" in sentence for sentence in found["missing"])
    assert main(["bag", "info", str(bag)]) == 0
    text = capsys.readouterr().out
    for word in (f"{TOPIC} as camera 'cam_front': 5 images, 25.0 Hz, 128x96 rgb8", "32FC1", "missing:"):
        assert word in text


@pytest.mark.parametrize("make", [False, True], ids=["info", "make --from"])
def test_a_bag_behind_a_url_is_looked_at_and_composed_as_one_on_disk(tmp_path, capsys, make):
    pytest.importorskip("upath")
    bag = drive(tmp_path / "a", 3)
    url = bag.as_uri()
    assert main(["bag", "make", "--from", url, "--out", str(tmp_path / "b")] if make else ["bag", "info", url]) == 0
    if not make:
        assert f"{url}: 3 messages" in capsys.readouterr().out
    else:
        with Bag(tmp_path / "b" / "bag") as made:
            assert TOPIC in {connection.topic for connection in made.connections}


@pytest.mark.parametrize("command", [["bag", "info"], ["view", "--save", "x.rrd", "--bag"], ["bag", "make", "--from"]])
def test_a_url_that_no_client_knows_is_named_as_it_was_given(tmp_path, capsys, command):
    if command[0] == "view":
        pytest.importorskip("rerun")
    assert main([*command, "zz://drives/a.mcap", *(["--out", str(tmp_path / "o")] if "make" in command else [])]) == 2
    assert "zz://drives/a.mcap" in capsys.readouterr().err


def test_what_bag_make_wrote_is_told_from_the_bag_in_it(tmp_path, capsys):
    drive(tmp_path / "made" / "bag", 1)
    assert main(["bag", "info", str(tmp_path / "made")]) == 2
    assert f"give the bag in it: {tmp_path / 'made' / 'bag'}" in capsys.readouterr().err


def test_images_and_bags_are_told_to_whom_they_belong(tmp_path, capsys):
    bag = drive(tmp_path / "bag", 1)
    (tmp_path / "drive.mp4").write_bytes(b"film")
    assert main(["replay", str(tmp_path / "drive.mp4"), "--out", str(tmp_path / "out")]) == 2
    assert "m2a predict" in capsys.readouterr().err
    assert main(["predict", str(bag), "--out", str(tmp_path / "out")]) == 2
    assert "m2a replay" in capsys.readouterr().err


def test_info_of_a_bag_without_camera_ends_with_code_1(tmp_path, capsys):
    bag = write_bag(tmp_path / "a", [raw(scene(0), 0, "/depth/image", encoding="32FC1")])
    assert main(["bag", "info", str(bag)]) == 1
    text = capsys.readouterr().out
    assert "usable:\n  nothing" in text
    assert "/depth/image: no camera image: encoding '32FC1'" in text


def test_info_of_a_bag_cut_short_is_an_error(tmp_path, capsys):
    bag = drive(tmp_path / "a", 30)
    file = bag / "a.mcap"
    file.write_bytes(file.read_bytes()[:-50])
    assert main(["bag", "info", str(bag)]) == 2
    assert str(bag) in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("storage", "transport"), [("mcap", "raw"), ("sqlite3", "compressed")])
def test_made_bag_holds_the_clip_and_its_ground_truth(tmp_path, capsys, storage, transport):
    out = tmp_path / "made"
    call = ["bag", "make", "--out", str(out), "--storage", storage, "--transport", transport, "--frames", "2"]
    assert main(call) == 0
    clip = load_clip(shared_file("config/demo/clip.yaml").parent)
    masks = sorted((out / "truth").iterdir())
    assert len(masks) == 2
    with AnyReader([out / "bag"]) as reader:
        images, infos = [], []
        for connection, _, data in reader.messages():
            if connection.topic.startswith(("/m2a/truth/", "/tf_static")):
                continue
            message = reader.deserialize(data, connection.msgtype)
            (infos if connection.msgtype.endswith("CameraInfo") else images).append(message)
    for i, (message, info, mask) in enumerate(zip(images, infos, masks, strict=True)):
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert (mask.name, info.header) == (f"{stamp}.png", message.header)
        assert np.array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), clip.truth(i))
        if transport == "raw":
            rgb = message.data.reshape(clip.camera.height, clip.camera.width, 3)
            assert np.array_equal(rgb, clip.image(i))
        else:
            rgb = cv2.imdecode(message.data, cv2.IMREAD_COLOR)[..., ::-1]
            assert np.abs(rgb.astype(int) - clip.image(i)).mean() < 5
        assert info.k.tolist() == [
            clip.camera.focal,
            0,
            clip.camera.center[0],
            0,
            clip.camera.focal,
            clip.camera.center[1],
            0,
            0,
            1,
        ]
    assert main(call) == 2
    assert "already" in capsys.readouterr().err


def test_info_of_a_made_bag_names_its_ground_truth_as_usable_alone(tmp_path, capsys):
    assert main(["bag", "make", "--out", str(tmp_path), "--frames", "1"]) == 0
    capsys.readouterr()
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    said = capsys.readouterr().out
    assert said.count("anomaly_labels") == 1
    assert "not usable" not in said


@pytest.mark.slow
def test_made_bag_is_replayed_against_its_ground_truth(replay, tmp_path):
    out = tmp_path / "made"
    assert main(["bag", "make", "--out", str(out), "--frames", "2"]) == 0
    done = replay(out / "bag", "--gt", out / "truth")
    assert (done.code, done.summary["truth"]["frames_scored"]) == (0, 2)
    assert done.summary["truth"]["pixel"]["n_anomaly"] > 0


@pytest.mark.parametrize("frames", ["0", "1000"])
def test_number_of_frames_outside_the_clip_is_an_error(tmp_path, capsys, frames):
    assert main(["bag", "make", "--out", str(tmp_path / "made"), "--frames", frames]) == 2
    assert f"--frames {frames}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_looped_bag_plays_forth_and_back_with_ground_truth_of_its_beginning(tmp_path):
    clip = load_clip(CLIP)
    steps = ROUNDS_WITH_TRUTH * (2 * len(clip) - 2) + 3
    assert make_looped_bag(CLIP, tmp_path, steps / 50, 50.0) == steps
    with Bag(tmp_path / "bag") as bag:
        (images,) = (c for c in bag.connections if c.msgtype == COMPRESSED)
        messages = [decode(data, COMPRESSED) for _, _, data in bag.messages([images])]
    assert len(messages) == steps
    assert np.diff([stamp_of(message) for message in messages]).tolist() == [20_000_000] * (steps - 1)
    assert np.array_equal(messages[1].data, messages[2 * len(clip) - 3].data)
    assert not np.array_equal(messages[0].data, messages[1].data)
    truth, ids = (sorted((tmp_path / name).iterdir()) for name in ("truth", "instances"))
    assert [p.name for p in truth] == [p.name for p in ids] == [f"{stamp_of(m)}.png" for m in messages[: steps - 3]]
    first = cv2.imread(str(ids[0]), cv2.IMREAD_UNCHANGED)
    assert ((first > 0) == (clip.truth(0) == 1)).all()
