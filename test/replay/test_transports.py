"""Topics of one camera belong together, whatever their transport; depth and unread codecs are not cameras."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from m2a_core.errors import DataError
from m2a_ros.bag.cameras import Choice, NoCamera, camera_info_topic, camera_name, choose
from m2a_ros.bag.reader import Bag
from m2a_ros.main import main
from test.replay.bags import COMPRESSED, IMAGE, START, STEP, STORE, Sent, image, message_header, raw, scene, write_bag

RGB = scene(0)
GREY16 = (RGB[..., 0].astype(np.uint16) << 4) + 500


def stream(pixels: np.ndarray, extension: str = ".png") -> bytes:
    done, data = cv2.imencode(extension, np.ascontiguousarray(pixels))
    assert done
    return data.tobytes()


def packed(topic: str, data: bytes, text: str, number: int = 0) -> Sent:
    time = START + number * STEP
    message = STORE.types[COMPRESSED](header=message_header(time), format=text, data=np.frombuffer(data, np.uint8))
    return Sent(topic, time, COMPRESSED, bytes(STORE.serialize_cdr(message, COMPRESSED)))


def other(topic: str, kind: str) -> Sent:
    STORE.register({k: v for k, v in get_types_from_msg("float64 data", kind).items() if k not in STORE.fielddefs})
    return Sent(topic, START, kind, bytes(STORE.serialize_cdr(STORE.types[kind](data=1.0), kind)))


def chosen(path: Path, *messages: Sent) -> Choice:
    with Bag(write_bag(path / "bag", list(messages))) as bag:
        return choose(bag, {})


def used(choice: Choice) -> dict[str, str]:
    return {topic.topic: topic.camera for topic in choice.used}


JPEG = stream(RGB[..., ::-1], ".jpg")
ZSTD = bytes([96, 0, 0, 0, 128, 0, 0, 0]) + b"\x28\xb5\x2f\xfd" + bytes(50)


def test_all_transports_of_a_camera_are_one_camera(tmp_path: Path) -> None:
    choice = chosen(
        tmp_path,
        image(RGB, 0, "/cam/image_raw", "rgb8"),
        packed("/cam/image_raw/compressed", JPEG, "rgb8; jpeg compressed bgr8"),
        packed("/cam/image_raw/zstd", ZSTD, "zstd"),
        packed("/cam/image_raw/compressedDepth", b"", ""),
        other("/cam/image_raw/theora", "theora_image_transport/msg/Packet"),
        other("/cam/image_raw/ffmpeg", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"),
    )
    assert used(choice) == {"/cam/image_raw": "cam"}
    assert choice.skipped == {
        "/cam/image_raw/compressed": "the same camera is on /cam/image_raw",
        "/cam/image_raw/zstd": "transport zstd, which is not read",
        "/cam/image_raw/compressedDepth": "depth images",
        "/cam/image_raw/theora": "Theora video, which is not read",
        "/cam/image_raw/ffmpeg": "ffmpeg video, which is not read",
    }


@pytest.mark.parametrize("names", [("zstd",), ("zstd", "theora"), ("compressedDepth",)])
def test_a_camera_of_unread_transports_alone_is_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(NoCamera, match=names[0]):
        chosen(tmp_path, *(packed(f"/cam/image_raw/{name}", ZSTD, "") for name in names))


def test_the_first_transport_that_can_be_read_is_taken(tmp_path: Path) -> None:
    choice = chosen(
        tmp_path,
        image(RGB.astype(np.float32)[..., 0], 0, "/cam/image_raw", "32FC1"),
        packed("/cam/image_raw/compressed", JPEG, "jpeg"),
        packed("/cam/image_raw/jpeg_low", JPEG, "jpeg"),
    )
    assert used(choice) == {"/cam/image_raw/compressed": "cam", "/cam/image_raw/jpeg_low": "cam_image_raw_jpeg_low"}


@pytest.mark.parametrize(
    ("topic", "data", "text"),
    [
        ("/camera/depth/image_rect_raw/compressed", stream(GREY16), "16UC1; png compressed "),
        ("/camera/aligned/image_raw/compressed", stream(GREY16.astype(np.uint8), ".jpg"), "16UC1; jpeg compressed "),
        ("/camera/d/image_raw/compressed", stream(GREY16), "32FC1; png compressed "),
        ("/camera/depth/image_raw/compressed", stream(GREY16), "png"),
        ("/camera/depth/image_raw/compressed", stream(GREY16), "mono16; png compressed "),
        ("/camera/depth/image_raw/compressedDepth", bytes(12) + stream(GREY16), "16UC1; compressedDepth png"),
        ("/camera/depth/image_raw/compressed", bytes(12) + stream(GREY16), "16UC1; compressedDepth"),
    ],
)
def test_depth_is_no_camera(tmp_path: Path, topic: str, data: bytes, text: str) -> None:
    choice = chosen(tmp_path, image(RGB, 0, "/camera/color/image_raw", "rgb8"), packed(topic, data, text))
    assert used(choice) == {"/camera/color/image_raw": "camera_color"}
    assert re.search("depth images|no camera image", choice.skipped[topic])


def test_grey_of_16_bits_is_a_camera_unless_its_topic_says_depth(tmp_path: Path) -> None:
    choice = chosen(
        tmp_path,
        image(GREY16, 0, "/thermal/image_raw", "mono16"),
        packed("/infra/image_raw/compressed", stream(GREY16), "mono16; png compressed "),
        image(GREY16, 0, "/stereo/depth", "mono16"),
    )
    assert used(choice) == {"/infra/image_raw/compressed": "infra", "/thermal/image_raw": "thermal"}
    assert choice.skipped == {"/stereo/depth": "depth images"}


@pytest.mark.parametrize(
    ("data", "text", "named"),
    [
        (stream(RGB, ".webp"), "webp", "webp"),
        (b"\0\0\0\1\x67" + bytes(99), "h264", "h264"),
        (b"\0\0\0\1\x67" + bytes(99), "", "H.264 or H.265"),
        (stream(RGB, ".bmp"), "bmp", "bmp"),
    ],
)
def test_another_codec_is_named_and_no_camera(tmp_path: Path, data: bytes, text: str, named: str) -> None:
    with pytest.raises(NoCamera, match=f"transport {named}, which is not read"):
        chosen(tmp_path, packed("/cam/image_raw/compressed", data, text))


def test_an_unread_transport_that_is_asked_for_is_an_error_at_once(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "a", [packed("/cam/image_raw/zstd", ZSTD, "zstd")])
    with Bag(bag) as opened, pytest.raises(DataError, match="/cam/image_raw/zstd: transport zstd, which is not read"):
        choose(opened, {"/cam/image_raw/zstd": "cam"})


@pytest.mark.parametrize("data", [b"", JPEG[:300], bytes(300)], ids=["empty", "cut off", "zeros"])
def test_a_damaged_first_image_does_not_cost_the_camera(tmp_path: Path, data: bytes) -> None:
    first, second = (packed("/cam/image_raw/compressed", d, "jpeg", i) for i, d in enumerate((data, JPEG)))
    assert used(chosen(tmp_path, first, second)) == {"/cam/image_raw/compressed": "cam"}


@pytest.mark.parametrize("end", ["", "/compressed", "/compressedDepth", "/zstd", "/theora", "/ffmpeg"])
def test_name_and_calibration_are_those_of_the_camera(end: str) -> None:
    assert camera_name(f"/car/front/image_raw{end}") == "car_front"
    assert camera_info_topic(f"/car/front/image_raw{end}") == "/car/front/camera_info"


def test_camera_name_of_a_long_topic_can_name_files() -> None:
    assert camera_name("/" + "x" * 300 + "/left/image_raw") == "x" * 59 + "_left"


def mosaic(rgb: np.ndarray) -> np.ndarray:
    made = rgb[..., 1].copy()
    made[0::2, 0::2], made[1::2, 1::2] = rgb[0::2, 0::2, 0], rgb[1::2, 1::2, 2]
    return made


PICTURES: dict[str, Any] = {
    "bayer": (mosaic(RGB), "bayer_rggb8", stream(mosaic(RGB)), "bayer_rggb8; png compressed "),
    "red first": (RGB, "rgb8", stream(RGB), "rgb8; png compressed rgb8"),
    "blue first": (RGB, "rgb8", stream(RGB[..., ::-1]), "rgb8; png compressed bgr8"),
    "16 bits": (GREY16 * 7, "mono16", stream(GREY16 * 7), "mono16; png compressed "),
}


@pytest.mark.slow
@pytest.mark.parametrize(("pixels", "encoding", "data", "text"), PICTURES.values(), ids=PICTURES.keys())
def test_raw_and_compressed_give_one_result(replay, tmp_path, pixels, encoding, data, text) -> None:
    one = write_bag(tmp_path / "one", [image(pixels, 0, "/cam/image_raw", encoding)])
    two = write_bag(tmp_path / "two", [packed("/cam/image_raw/compressed", data, text)])
    first, second = replay(one, out="first"), replay(two, out="second")
    assert first.hashes == second.hashes
    assert len(first.hashes) == 1


@pytest.mark.slow
def test_streams_of_usb_cameras_are_decoded_and_counted(replay, tmp_path, capsys) -> None:
    streams = [JPEG, JPEG[:-2], JPEG + bytes(40), JPEG + JPEG[300:800], JPEG[: len(JPEG) // 2]]
    done = replay(write_bag(tmp_path / "a", [packed("/cam/compressed", d, "jpeg", i) for i, d in enumerate(streams)]))
    assert done.code == 1
    assert len(set(done.hashes)) == 1
    assert [problem["reason"] for problem in done.problems] == ["bad_image.undecodable"]
    (camera,) = done.summary["bags"][0]["cameras"].values()
    assert camera["odd_images"] == {"bytes_after_end": 2, "without_end": 1}
    assert "2 images have bytes after the end" in capsys.readouterr().out


def test_an_image_that_claims_too_many_pixels_is_counted(replay, tmp_path) -> None:
    png = bytearray(stream(RGB))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    messages = [packed("/cam/compressed", d, "png", i) for i, d in enumerate((stream(RGB), bytes(png)))]
    done = replay(write_bag(tmp_path / "a", messages))
    assert [problem["reason"] for problem in done.problems] == ["bad_image.too_large"]


def test_the_limit_on_pixels_is_the_node_s_parameter(replay, tmp_path) -> None:
    parameters = tmp_path / "m2a.param.yaml"
    parameters.write_text("/**: {ros__parameters: {max_image_pixels: 12287}}\n")
    bag = write_bag(tmp_path / "a", [packed("/cam/compressed", stream(RGB), "png")])
    done = replay(bag, "--params-file", parameters, out="limited")
    assert [problem["reason"] for problem in done.problems] == ["bad_image.too_large"]
    assert len(replay(bag).frames) == 1


def mixed(path: Path) -> Path:
    """A topic whose type changes after two images."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {kind: writer.add_connection("/cam/image", kind, typestore=STORE) for kind in (IMAGE, COMPRESSED)}
        for i in range(5):
            message = (
                image(RGB, i, "/cam/image", "rgb8") if i < 2 else packed("/cam/image", stream(RGB[..., ::-1]), "png", i)
            )
            writer.write(kinds[message.msgtype], message.time, message.data)
    return path


def test_a_topic_whose_type_changes_is_read_whole(replay, tmp_path, capsys) -> None:
    done = replay(mixed(tmp_path / "a"))
    assert (done.code, len(done.frames), len(set(done.hashes))) == (0, 5, 1)
    capsys.readouterr()
    assert main(["bag", "info", str(tmp_path / "a"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cameras"]["/cam/image"]["messages"] == 5
    assert "/cam/image: the topic holds Image and CompressedImage messages" in " ".join(found["missing"])


def test_a_topic_whose_type_changes_is_not_sent_to_the_node(replay, tmp_path, capsys) -> None:
    assert replay(mixed(tmp_path / "a"), mode="lockstep").code == 2
    assert re.search("reads one type on a topic.*mode offline", capsys.readouterr().err)


def test_two_publishers_on_one_topic_are_said(replay, tmp_path, capsys) -> None:
    messages = []
    for i in range(6):
        message = raw(RGB, i)
        name = b"left" if i % 2 else b"rite"
        messages.append(
            replace(message, data=message.data.replace(b"front_camera_optical", name + b"_camera_optical."))
        )
    bag = write_bag(tmp_path / "a", messages)
    assert main(["bag", "info", str(bag)]) == 0
    assert "images of 2 frames ('left_camera_optical.', 'rite_camera_optical.') are on" in capsys.readouterr().out
    done = replay(bag)
    assert done.summary["bags"][0]["cameras"]["cam_front"]["frame_ids"] == [
        "left_camera_optical.",
        "rite_camera_optical.",
    ]
    assert "images of several frames are on one topic" in capsys.readouterr().out


def test_another_serialisation_of_one_topic_does_not_cost_the_others(tmp_path: Path) -> None:
    with Writer(tmp_path / "a", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, form in (("/one/image", "cdr"), ("/two/image", "json")):
            connection = writer.add_connection(topic, IMAGE, typestore=STORE, serialization_format=form)
            writer.write(connection, START, image(RGB, 0, topic, "rgb8").data)
    with Bag(tmp_path / "a" / "a.mcap") as bag:
        choice = choose(bag, {})
    assert used(choice) == {"/one/image": "one"}
    assert choice.skipped == {"/two/image": "serialised as json, and cdr is read"}
