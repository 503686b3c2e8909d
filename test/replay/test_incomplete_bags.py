"""A bag that is incomplete or none is refused with what it is and what to do, and never read in part."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from m2a_core.errors import DataError
from m2a_ros.bag.reader import Bag
from m2a_ros.main import main
from test.replay.bags import IMAGE, START, STEP, STORE, TOPIC, drive, raw, scene


def only(folder: Path, ending: str) -> Path:
    (file,) = folder.glob(f"*{ending}")
    return file


def refusal(path: Path) -> str:
    """Why a bag is refused, on opening or while it is read."""
    with pytest.raises(DataError) as caught, Bag(path) as bag:
        for _ in bag.messages(bag.connections):
            pass
    assert str(path) in str(caught.value)
    return str(caught.value)


def count(path: Path) -> int:
    with Bag(path) as bag:
        return sum(1 for _ in bag.messages(bag.connections))


def edit(bag: Path, **changes: Any) -> None:
    metadata = bag / "metadata.yaml"
    content = yaml.safe_load(metadata.read_text())
    content["rosbag2_bagfile_information"].update(changes)
    metadata.write_text(yaml.safe_dump(content))


def crashed(bag: Path, more: int) -> sqlite3.Connection:
    """A recorder that committed more messages to its write-ahead log and did not close the file."""
    connection = sqlite3.connect(only(bag, ".db3"))
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma wal_autocheckpoint=0")
    for i in range(more):
        image = raw(scene(0), 100 + i)
        connection.execute("insert into messages(topic_id,timestamp,data) values(1,?,?)", (image.time, image.data))
    connection.commit()
    return connection


@pytest.mark.parametrize("alone", [True, False], ids=["file", "folder"])
def test_messages_in_a_write_ahead_log_are_not_left_out(tmp_path: Path, alone: bool) -> None:
    bag = drive(tmp_path / "recording", 6, StoragePlugin.SQLITE3)
    recorder = crashed(bag, 14)
    copy = Path(shutil.copytree(bag, tmp_path / "copy"))
    recorder.close()
    path = only(copy, ".db3") if alone else copy
    text = refusal(path)
    assert "copy" in text
    assert "-wal" in text
    script = re.search(r"`sqlite3 (\S+) '(.+?)'`", text)
    assert script
    database = sqlite3.connect(script[1])
    for statement in script[2].split(";"):
        database.execute(statement).fetchall()
    database.close()
    assert count(only(copy, ".db3")) == 20


def test_the_log_is_named_first_where_the_folder_has_no_metadata_either(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 2, StoragePlugin.SQLITE3)
    (bag / "metadata.yaml").unlink()
    only(bag, ".db3").with_name("drive.db3-wal").write_bytes(b"frames")
    assert "drive.db3-wal" in refusal(bag)


def test_a_file_without_an_index_of_messages_is_read_whole(tmp_path: Path) -> None:
    file = drive(tmp_path / "drive", 9) / "drive.mcap"
    data = bytearray(file.read_bytes())
    (summary,) = struct.unpack_from("<Q", data, len(data) - 28)
    position = summary
    while data[position] != 0x02:
        length = struct.unpack_from("<Q", data, position + 1)[0]
        if data[position] == 0x08:  # the index of a chunk: its map of message indexes, emptied
            at = position + 9 + 32
            mapped = struct.unpack_from("<I", data, at)[0]
            data[at : at + 4 + mapped] = struct.pack("<I", 0)
            struct.pack_into("<Q", data, position + 1, length - mapped)
            length -= mapped
        position += 9 + length
    file.write_bytes(bytes(data))
    assert count(file) == count(file.parent) == 9


def test_a_journal_of_interrupted_changes_is_not_ignored(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 2, StoragePlugin.SQLITE3)
    only(bag, ".db3").with_name(only(bag, ".db3").name + "-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    assert "journal" in refusal(bag)


def test_an_empty_log_beside_a_closed_file_does_no_harm(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 2, StoragePlugin.SQLITE3)
    only(bag, ".db3").with_name(only(bag, ".db3").name + "-wal").touch()
    assert count(bag) == 2


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_reindexed_folder_without_the_name_of_its_storage_is_read(tmp_path: Path, storage: StoragePlugin) -> None:
    bag = drive(tmp_path / "drive", 3, storage)
    edit(bag, storage_identifier="")
    assert count(bag) == 3


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize(("said", "held"), [(2, 3), (4, 3), (0, 3)])
def test_counts_that_differ_between_folder_and_files_are_refused(
    tmp_path: Path, storage: StoragePlugin, said: int, held: int
) -> None:
    bag = drive(tmp_path / "drive", held, storage)
    text = (bag / "metadata.yaml").read_text().replace(f"message_count: {held}", f"message_count: {said}")
    (bag / "metadata.yaml").write_text(text)
    assert re.search(rf"holds {held} messages in its files, but its metadata.yaml says {said}.*reindex", refusal(bag))


def test_a_topic_that_the_folder_does_not_name_is_not_left_out(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 3)
    edit(bag, topics_with_message_count=[], message_count=0)
    assert re.search(rf"{TOPIC} .*holds 3 messages in its files, but its metadata.yaml says 0", refusal(bag))


def test_a_file_that_the_folder_does_not_name_is_not_left_out(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 3)
    shutil.copy(bag / "drive.mcap", bag / "drive_1.mcap")
    assert re.search(r"drive_1.mcap is in the folder, but not in its metadata.yaml", refusal(bag))


def test_a_file_of_a_split_bag_that_is_missing_is_named(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 3)
    edit(bag, relative_file_paths=["drive.mcap", "drive_1.mcap"])
    assert re.search(r"names files that are not there: drive_1.mcap", refusal(bag))


def test_folder_and_file_may_write_the_quality_of_service_differently(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 3)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    metadata["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"] = [
        {
            "history": "keep_last",
            "depth": 7,
            "reliability": "reliable",
            "durability": "volatile",
            "deadline": {"sec": 1, "nsec": 0},
            "lifespan": {"sec": 1, "nsec": 0},
            "liveliness": "automatic",
            "liveliness_lease_duration": {"sec": 1, "nsec": 0},
            "avoid_ros_namespace_conventions": False,
        }
    ]
    edit(bag, **metadata)
    assert count(bag) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 10}, "version 10.*give its file instead .drive.mcap"),
        ({"storage_identifier": "rosbag_v2"}, "storage is 'rosbag_v2'"),
        ({"compression_format": "fake_comp", "compression_mode": "FILE"}, "compression is 'fake_comp'"),
        ({"topics_with_message_count": 3}, "metadata.yaml is damaged.*reindex"),
    ],
    ids=["version", "storage", "compression", "nonsense"],
)
def test_metadata_that_are_not_read_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    bag = drive(tmp_path / "drive", 2)
    edit(bag, **changes)
    assert re.search(words, refusal(bag))


def test_another_serialisation_is_named(tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 2)
    text = (bag / "metadata.yaml").read_text().replace("serialization_format: cdr", "serialization_format: acme_cdr")
    (bag / "metadata.yaml").write_text(text)
    assert re.search("serialised as acme_cdr.*RMW", refusal(bag))


def test_compressed_folders_are_read(tmp_path: Path) -> None:
    for mode in (CompressionMode.FILE, CompressionMode.MESSAGE):
        writer = Writer(tmp_path / mode.name, version=9)
        writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            connection = writer.add_connection(TOPIC, IMAGE, typestore=STORE)
            for i in range(3):
                writer.write(connection, START + i * STEP, raw(scene(0), i).data)
        assert count(tmp_path / mode.name) == 3


def record(kind: int, *parts: object) -> bytes:
    """An MCAP record; texts get their length in front."""
    data = b"".join(
        part if isinstance(part, bytes) else struct.pack("<I", len(str(part))) + str(part).encode() for part in parts
    )
    return struct.pack("<BQ", kind, len(data)) + data


def mcap(profile: str, schema: str, message: str, summary: bool = True) -> bytes:
    magic, none = b"\x89MCAP0\r\n", struct.pack("<I", 0)
    kinds = record(3, struct.pack("<H", 1), "acme.Image", schema, "") + record(
        4, struct.pack("<HH", 1, 1), "/cam", message, none
    )
    data = magic + record(1, profile, "acme 1.0") + kinds
    data += record(5, struct.pack("<HIQQ", 1, 0, START, START), b"{}") + record(15, struct.pack("<I", 0))
    at = len(data) if summary else 0
    return data + (kinds if summary else b"") + record(2, struct.pack("<QQI", at, 0, 0)) + magic


@pytest.mark.parametrize("summary", [True, False], ids=["summary", "no summary"])
@pytest.mark.parametrize(
    ("profile", "schema", "message"),
    [
        ("", "protobuf", "protobuf"),
        ("", "jsonschema", "json"),
        ("ros1", "ros1msg", "ros1"),
        ("ros2", "protobuf", "cdr"),
    ],
)
def test_an_mcap_file_of_other_messages_is_named(
    tmp_path: Path, profile: str, schema: str, message: str, summary: bool
) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(mcap(profile, schema, message, summary))
    text = refusal(path)
    for word in (repr(profile), schema, message, "acme 1.0"):
        assert word in text


FOREIGN = {
    "ROS 1 bag": ("a.bag", b"#ROSBAG V2.0\n" + bytes(99), "ROS 1 bag.*rosbags-convert"),
    "ROS 1 bag named .mcap": ("a.mcap", b"#ROSBAG V2.0\n" + bytes(99), "ROS 1 bag.*rosbags-convert"),
    "ROS 1 bag without ending": ("a", b"#ROSBAG V2.0\n" + bytes(99), "ROS 1 bag"),
    "empty": ("a.mcap", b"", "a.mcap is empty"),
    "empty database": ("a.db3", b"", "a.db3 is empty"),
    "zeros": ("a.mcap", bytes(4096), "begins with zeros"),
    "text": ("a.mcap", b"hello world, no bag", "not an MCAP file"),
    "text as a database": ("a.db3", b"not a data base, but long " * 99, "not an SQLite file"),
    "Git LFS": ("a.mcap", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "gzip": ("a.mcap", b"\x1f\x8b\x08" + bytes(99), "gzip"),
    "file of a compressed bag": ("a.db3.zstd", b"\x28\xb5\x2f\xfd" + bytes(99), "zstd.*give the bag's folder"),
    "MCAP named .db3": ("a.db3", b"\x89MCAP0\r\n" + bytes(99), "rename it to .mcap"),
    "database named .mcap": ("a.mcap", b"SQLite format 3\0" + bytes(99), "rename it to .db3"),
    "MCAP of eight bytes": ("a.mcap", b"\x89MCAP0\r\n", "ends in its first record"),
}


@pytest.mark.parametrize(("name", "content", "words"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_bag_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    text = refusal(path)
    assert re.search(words, text)
    assert "reindex" not in text


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_an_mcap_file_that_was_not_closed_is_named(tmp_path: Path, share: float) -> None:
    file = drive(tmp_path / "drive", 20) / "drive.mcap"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    for path in (file, file.parent):
        assert re.search("was not closed.*mcap recover.*reindex", refusal(path))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_database_that_was_cut_short_is_named(tmp_path: Path, share: float) -> None:
    file = only(drive(tmp_path / "drive", 20, StoragePlugin.SQLITE3), ".db3")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert re.search("damaged SQLite file.*recover", refusal(file))


def test_a_database_of_something_else_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db3") as database:
        database.execute("create table birds(name)")
    assert re.search("none of a bag", refusal(tmp_path / "a.db3"))


def test_the_command_ends_with_the_sentence_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(mcap("", "protobuf", "protobuf"))
    assert main(["bag", "info", str(path)]) == 2
    error = capsys.readouterr().err
    assert "protobuf" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("value", [".nan", ".inf", "'2'", "2.0", "true", "[2]"])
@pytest.mark.parametrize("key", ["message_count", "nanoseconds", "nanoseconds_since_epoch"])
def test_counts_and_times_that_are_no_whole_numbers_are_refused_by_name(key: str, value: str, tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 2)
    metadata = bag / "metadata.yaml"
    metadata.write_text(re.sub(rf"\b{key}: \d+", f"{key}: {value}", metadata.read_text()))
    assert f"{key} is {yaml.safe_load(value)!r}, expected a whole number" in refusal(bag)
