"""m2a bag make --from: objects in a recorded bag, on the road, with truth; everything else stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin

from m2a_core.compose.ground import GroundCamera
from m2a_ros.bag.motion import from_texture
from m2a_ros.main import main
from test.replay.bags import START, STEP, TOPIC, compressed, raw, write_bag
from test.replay.conftest import replay  # noqa: F401
from test.review.bags_with_truth import FOCAL, HEIGHT_M, camera_info, odometry, road, static_transform

LABELS, IDS = "/m2a/truth/cam_front/anomaly_labels", "/m2a/truth/cam_front/instance_ids"
METRES_A_FRAME = 0.8


def textured(seed: int = 1) -> np.ndarray:
    """Grey road and sky with texture, so that nothing of it is unknown by colour alone."""
    noise = np.random.default_rng(seed).integers(90, 130, (96, 128, 1), np.uint8)
    return np.repeat(noise, 3, axis=2)


def drive(moving: bool = True) -> list:
    messages = [camera_info(), static_transform()]
    for i in range(6):
        messages += [raw(textured(), i, encoding="bgr8")]
        messages += [odometry(i, METRES_A_FRAME * i)] if moving else []
    return messages


def read(bag) -> dict[str, list]:
    found: dict[str, list] = {}
    with AnyReader([bag]) as reader:
        for connection, time, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time, bytes(data), message))
    return found


def pixels(message) -> np.ndarray:
    kind = {"mono8": np.uint8, "16UC1": np.uint16, "bgr8": np.uint8}[message.encoding]
    return np.frombuffer(message.data, kind).reshape(message.height, message.width, -1).squeeze()


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_objects_stay_on_the_road_as_the_odometry_says_and_the_rest_is_copied(tmp_path, capsys, storage):
    source = write_bag(tmp_path / "drive", drive(), StoragePlugin.SQLITE3)
    out = tmp_path / "made"
    assert main(["bag", "make", "--from", str(source), "--out", str(out), "--every", "9", "--storage", storage]) == 0
    assert "odometry on /odom" in capsys.readouterr().out
    before, after = read(source), read(out / "bag")
    assert set(after) == {*before, LABELS, IDS}
    for topic in before.keys() - {TOPIC}:
        assert [m[:2] for m in after[topic]] == [m[:2] for m in before[topic]]
    feet: dict[int, list[float]] = {}
    for i, ((time, _, old), (_, _, new), (_, _, labels), (_, _, ids)) in enumerate(
        zip(before[TOPIC], after[TOPIC], after[LABELS], after[IDS], strict=True)
    ):
        assert len({repr(message.header) for message in (new, old, labels, ids)}) == 1
        assert (new.encoding, time) == ("bgr8", START + i * STEP)
        mask, owner = pixels(labels), pixels(ids)
        assert set(np.unique(mask)) <= {0, 1, 255}
        assert ((owner > 0) == (mask == 1)).all()
        changed = (pixels(new) != pixels(old)).any(axis=2)
        assert changed[mask == 1].mean() > 0.9
        png = cv2.imread(str(out / "truth" / f"{time}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(png, mask)
        for number in np.unique(owner[owner > 0]):
            feet.setdefault(int(number), []).append(float(np.flatnonzero((owner == number).any(axis=1))[-1]) + 0.5)
    # The nearest object's foot: height * focal / (row - horizon) metres ahead, nearer by what the car drives.
    rows = feet[1]
    ahead = [HEIGHT_M * FOCAL / (row - 48) for row in rows]
    assert ahead[0] == pytest.approx(10, rel=0.06)
    assert ahead[0] - ahead[len(rows) - 1] == pytest.approx(METRES_A_FRAME * (len(rows) - 1), abs=0.7)


@pytest.mark.slow
def test_composed_bag_is_replayed_against_its_own_labels(replay, tmp_path):  # noqa: F811
    source, out = write_bag(tmp_path / "drive", drive()), tmp_path / "made"
    assert main(["bag", "make", "--from", str(source), "--out", str(out)]) == 0
    done = replay(out / "bag", "--gt-topic", LABELS, "--gt-instances-topic", IDS, "--track", "obstacle")
    found = done.summary["truth"]
    assert (done.code, found["frames_scored"], found["failed"]["count"]) == (0, 6, 0)
    assert {o["object"] for o in found["objects"]} <= {"1", "2", "3"}
    assert found["objects"][0]["first_visible_distance_m"] == pytest.approx(10, rel=0.06)
    other = replay(out / "bag", "--gt", out / "truth", out="other")
    assert other.summary["truth"]["pixel"] == found["pixel"]


@pytest.mark.slow
def test_compressed_camera_without_calibration_or_motion_says_what_is_assumed(tmp_path, capsys):
    frames = [compressed(textured(i), i) for i in range(3)] + [compressed(textured(), 3, keep=0.5)]
    source, out = write_bag(tmp_path / "drive", frames), tmp_path / "made"
    assert main(["bag", "make", "--from", str(source), "--out", str(out)]) == 1
    text = capsys.readouterr().out
    for word in (
        "3 images",
        "1.5 m above the road assumed",
        "focal length of 115 pixels assumed",
        "taken as standing",
        "NOT composed: 1 images",
    ):
        assert word in text
    after = read(out / "bag")
    assert len(after[TOPIC + "/compressed"]) == 4
    assert len(after[LABELS]) == 3
    assert {message.format for _, _, message in after[TOPIC + "/compressed"]} == {"png"}


@pytest.mark.slow
def test_motion_is_found_in_the_texture_of_the_road():
    camera = GroundCamera(640, 360, 500.0, (319.5, 179.5), 1.5, 0.05)
    rng = np.random.default_rng(2)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (1200, 400)).astype(np.float32), (0, 0), 1.2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    rows, columns = np.mgrid[:360, :640]
    below = rows > camera.horizon() + 2
    places = camera.to_road(np.column_stack([columns[below], rows[below]]).astype(np.float64))

    def seen(driven: float) -> np.ndarray:
        x, y = np.full((2, 360, 640), -9.0, np.float32)
        x[below], y[below] = places[:, 0] * 12 + 200, (places[:, 1] + driven) * 12
        image = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=128)
        return image.astype(np.uint8)

    motion = from_texture([seen(0.5 * i) for i in range(4)], camera)
    assert motion.poses[-1].z == pytest.approx(1.5, rel=0.05)
    assert motion.poses[-1].x == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--every", "0"], "--every"),
        (["--objects", "/nowhere"], "--objects"),
        (["--frames", "3"], "shipped clip"),
        (["--topic", "/nowhere"], "no images on /nowhere"),
        (["--mounting", "pitch"], "--mounting"),
    ],
)
def test_options_that_cannot_be_leave_nothing(tmp_path, capsys, options, word):
    source, out = write_bag(tmp_path / "drive", [raw(road(), 0)]), tmp_path / "made"
    assert main(["bag", "make", "--from", str(source), "--out", str(out), *options]) == 2
    assert word in capsys.readouterr().err
    assert not (out / "bag").exists()


def test_a_bag_with_ground_truth_of_the_camera_is_refused(tmp_path, capsys):
    source, out = write_bag(tmp_path / "drive", [raw(road(), 0), raw(road(), 0, LABELS)]), tmp_path / "made"
    assert main(["bag", "make", "--from", str(source), "--out", str(out)]) == 2
    assert LABELS in capsys.readouterr().err
    assert not out.exists()


def test_mixed_resolutions_are_an_error(tmp_path, capsys):
    source = write_bag(tmp_path / "drive", [raw(road(), 0), raw(np.zeros((48, 64, 3), np.uint8), 1)])
    assert main(["bag", "make", "--from", str(source), "--out", str(tmp_path / "made")]) == 2
    assert "128x96 and 64x48" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stamps", "masks", "words"),
    [([0] * 4, 4, "4 stamps were zero"), ([START, START, START + STEP, START], 2, "2 stamps occur more than once")],
    ids=["zero", "repeated"],
)
def test_stamps_that_tell_no_images_apart_are_said(tmp_path, capsys, stamps, masks, words):
    images = [raw(textured(), i, stamp=stamp, encoding="bgr8") for i, stamp in enumerate(stamps)]
    source, out = write_bag(tmp_path / "drive", [camera_info(), *images]), tmp_path / "made"
    assert main(["bag", "make", "--from", str(source), "--out", str(out)]) == 0
    assert words in capsys.readouterr().out
    assert len(list((out / "truth").iterdir())) == masks
    assert len(read(out / "bag")[LABELS]) == 4
