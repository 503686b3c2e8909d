"""Whatever is wrong with a bag is an error that names it, or counted: an evaluation is never silently shorter."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from test.replay.bags import START, STORE, TOPIC, compressed, drive, foreign_type, raw, scene, write_bag

ROOT = Path(__file__).resolve().parents[2]


def storage_file(bag: Path) -> Path:
    return next(p for p in bag.iterdir() if p.suffix in (".mcap", ".db3"))


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("alone", [True, False])
def test_bag_cut_short_is_an_error(replay, tmp_path, capsys, storage, alone):
    bag = drive(tmp_path / "drive", 40, storage)
    file = storage_file(bag)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = replay(file if alone else bag)
    error = capsys.readouterr().err
    assert done.code == 2
    assert str(file if alone else bag) in error
    assert "ros2 bag reindex" in error
    assert not (done.out / "summary.json").exists()


def test_bag_with_fewer_messages_than_its_index_says_is_an_error(replay, tmp_path, capsys):
    bag = drive(tmp_path / "drive", 3)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 3", "message_count: 4"))
    assert replay(bag).code == 2
    assert "holds 3 messages" in capsys.readouterr().err


def test_folder_without_metadata_names_the_file_that_can_be_read(replay, tmp_path, capsys):
    bag = drive(tmp_path / "drive", 2)
    (bag / "metadata.yaml").unlink()
    assert replay(bag).code == 2
    assert re.search(r"no metadata.yaml; give its file instead \(drive.mcap\)", capsys.readouterr().err)
    assert len(replay(bag / "drive.mcap").frames) == 2


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.mcap", b"", "not a readable bag"),
        ("a.db3", b"not a data base, but long enough to look like one " * 99, "not a readable bag"),
        ("a.bag", b"#ROSBAG V2.0\n", "ROS 1"),
        ("a.txt", b"hello", "expected a bag folder"),
        (None, b"", "no such file"),
    ],
)
def test_what_is_no_bag_is_an_error(replay, tmp_path, capsys, name, content, word):
    path = tmp_path / (name or "missing.mcap")
    if name:
        path.write_bytes(content)
    assert replay(path).code == 2
    error = capsys.readouterr().err
    assert word in error
    assert str(path) in error


def test_bag_without_camera_says_what_it_holds(replay, tmp_path, capsys):
    bag = write_bag(tmp_path / "a", [raw(scene(0), 0, "/depth/image", encoding="32FC1")])
    assert replay(bag).code == 2
    assert re.search(r"no topic with camera images; image topics are /depth/image: .*32FC1", capsys.readouterr().err)


def test_topic_that_is_not_there_names_those_that_are(replay, tmp_path, capsys):
    assert replay(drive(tmp_path / "a", 1), "--topic", "/cam/rear/image_raw").code == 2
    assert re.search(f"no images on /cam/rear/image_raw; image topics are {TOPIC}", capsys.readouterr().err)


@pytest.mark.parametrize("topics", [["front"], ["/a=b c"], ["/a=x", "/b=x"], ["/a/image", "/a/image_raw"]])
def test_impossible_topic_argument_is_an_error(replay, tmp_path, capsys, topics):
    arguments = [word for topic in topics for word in ("--topic", topic)]
    assert replay(drive(tmp_path / "a", 1), *arguments).code == 2
    assert "--topic" in capsys.readouterr().err


def test_unknown_types_of_other_topics_do_not_matter(replay, tmp_path):
    path = tmp_path / "a"
    name, definition, data = foreign_type(1)
    image = raw(scene(0), 0)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(image.topic, image.msgtype, typestore=STORE)
        # A definition that cannot even be parsed, and a hash that is not its own.
        other = writer.add_connection("/torque", name, msgdef=definition + "\n???", rihs01="RIHS01_" + "0" * 64)
        writer.write(other, image.time, data)
        writer.write(connection, image.time, image.data)
    done = replay(path)
    assert (done.code, len(done.frames)) == (0, 1)


def test_image_type_of_another_definition_is_refused(replay, tmp_path, capsys):
    image = raw(scene(0), 0)
    with Writer(tmp_path / "a", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(image.topic, image.msgtype, msgdef="uint8 x", rihs01="RIHS01_" + "0" * 64)
        writer.write(connection, image.time, image.data)
    assert replay(tmp_path / "a").code == 2
    assert "another definition of sensor_msgs/msg/Image" in capsys.readouterr().err


@pytest.mark.slow
def test_images_that_cannot_be_evaluated_are_counted_with_their_reasons(replay, tmp_path, capsys):
    good = [raw(scene(0), i) for i in range(4)]
    cut = replace(good[1], data=good[1].data[:-100])
    unknown = raw(scene(0), 2)
    unknown = replace(unknown, data=unknown.data.replace(b"rgb8", b"rgbx"))
    done = replay(write_bag(tmp_path / "a", [good[0], cut, unknown, good[3]]))
    assert done.code == 1
    assert [frame["stamp_ns"] for frame in done.frames] == [good[0].time, good[3].time]
    assert [(p["topic"], p["recorded_ns"], p["stamp_ns"], p["reason"]) for p in done.problems] == [
        (TOPIC, cut.time, None, "bad_message"),
        (TOPIC, unknown.time, unknown.time, "bad_image.unknown_encoding"),
    ]
    section = done.summary["bags"][0]
    assert (section["messages"], section["evaluated"]) == (4, 2)
    assert section["not_evaluated"] == {"bad_image.unknown_encoding": 1, "bad_message": 1}
    assert "2 of 4 images evaluated\n  NOT evaluated: 1 (bad_image.unknown_encoding)" in capsys.readouterr().out


def test_truncated_compressed_image_is_counted(replay, tmp_path):
    frames = [compressed(scene(0), 0), compressed(scene(0), 1, keep=0.7)]
    done = replay(write_bag(tmp_path / "a", frames))
    assert (done.code, len(done.frames)) == (1, 1)
    assert [problem["reason"] for problem in done.problems] == ["bad_image.undecodable"]


def test_mixed_resolutions_are_evaluated_counted_and_fitted_into_the_video(replay, tmp_path, capsys):
    frames = [raw(scene(0, (96, 128) if i < 2 else (120, 200)), i) for i in range(3)]
    done = replay(write_bag(tmp_path / "a", frames))
    assert (done.code, len(done.frames)) == (0, 3)
    assert done.summary["bags"][0]["cameras"]["cam_front"]["sizes"] == {"128x96": 2, "200x120": 1}
    assert "resolutions are mixed" in capsys.readouterr().out
    assert cv2.VideoCapture(str(done.out / "a" / "overlay_cam_front.webm")).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_stamps_out_of_order_and_looped_are_evaluated_and_counted(replay, tmp_path, capsys):
    stamps = [START + 5, START + 3, START + 9, START + 5]
    frames = [raw(scene(4 * i), i, stamp=stamp) for i, stamp in enumerate(stamps)]
    done = replay(write_bag(tmp_path / "a", frames))
    assert [frame["stamp_ns"] for frame in done.frames] == stamps
    camera = done.summary["bags"][0]["cameras"]["cam_front"]
    assert (camera["stamps_going_back"], camera["stamps_repeated"]) == (2, 1)
    assert "2 stamps go back in time" in capsys.readouterr().out


def test_bag_given_twice_is_refused(replay, tmp_path, capsys):
    bag = drive(tmp_path / "a", 1)
    assert replay(bag, tmp_path / "." / "a").code == 2
    assert "given twice" in capsys.readouterr().err


def test_a_bag_whose_name_is_dots_writes_into_its_output_folder(replay, tmp_path):
    bag = tmp_path / "odd" / "...mcap"
    bag.parent.mkdir()
    (drive(tmp_path / "drive", 1) / "drive.mcap").rename(bag)
    done = replay(bag)
    assert [entry["name"] for entry in done.summary["bags"]] == ["bag"]
    assert (done.out / "bag" / "frames.jsonl").is_file()


def test_output_folder_that_cannot_be_made_is_an_error(replay, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert replay(drive(tmp_path / "a", 1), out="file/out").code == 2
    assert "cannot write there" in capsys.readouterr().err


@pytest.mark.slow
def test_full_disk_is_an_error_and_the_replay_goes_on_when_there_is_room(replay, tiny, tmp_path):
    bag, out = drive(tmp_path / "a", 20), tmp_path / "out"
    program = (
        "import resource, sys\nfrom m2a_ros.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "sys.exit(main(['replay', *sys.argv[1:], '--threads', '1']))"
    )
    command = [sys.executable, "-c", program, str(bag), "--model", str(tiny), "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"--out {out}: cannot write there" in run.stderr
    assert not (out / "frames.jsonl").exists()
    assert len(replay(bag).frames) == 20
