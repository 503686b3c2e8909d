"""Bags that are small and stand for any number of bytes or steps end in an error that names them, and at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import lz4.frame  # type: ignore[import-untyped]
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import decompress

from m2a_core.errors import DataError
from m2a_ros.bag import limits
from m2a_ros.bag.reader import Bag
from test.replay.bags import START, STORE, drive

TOPIC, KIND = "/text", "std_msgs/msg/String"
SMALL, LARGE = 1 << 10, 1 << 16
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) AS schema_version FROM n"


def packed(folder: Path, mode: CompressionMode, storage: StoragePlugin, size: int = LARGE) -> Path:
    writer = Writer(folder / "packed", version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection(TOPIC, KIND, typestore=STORE)
        writer.write(topic, START, bytes(size))
    return folder / "packed"


def read(bag: Path) -> list[bytes]:
    with Bag(bag) as opened:
        return [data for _, _, data in opened.messages(opened.connections)]


PACKED = [
    (CompressionMode.MESSAGE, StoragePlugin.MCAP),
    (CompressionMode.MESSAGE, StoragePlugin.SQLITE3),
    (CompressionMode.STORAGE, StoragePlugin.MCAP),
    (CompressionMode.FILE, StoragePlugin.SQLITE3),
]


@pytest.mark.parametrize(("mode", "storage"), PACKED)
def test_packed_bags_are_read_and_refused_where_they_unpack_to_too_much(
    mode: CompressionMode, storage: StoragePlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = packed(tmp_path, mode, storage)
    assert read(bag) == [bytes(LARGE)]
    monkeypatch.setattr(limits, "MAX_BYTES", SMALL)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * SMALL))
    with pytest.raises(DataError, match=rf"packed.*unpacks to more than {SMALL} bytes"):
        read(bag)


@pytest.mark.parametrize(
    "data", [lz4.frame.compress(bytes(LARGE)), limits.zstd.compress(bytes(LARGE))], ids=["lz4", "zstd"]
)
def test_a_chunk_is_unpacked_no_further_than_it_says(data: bytes) -> None:
    name = "lz4" if data[:4] == b"\x04\x22\x4d\x18" else "zstd"
    assert decompress(data, name, LARGE, 0) == bytes(LARGE)
    with pytest.raises(ValueError, match=f"more than {SMALL} bytes"):
        decompress(data, name, SMALL, 0)


def test_frames_of_zstd_in_a_row_are_one_and_cut_ones_are_refused() -> None:
    frame = limits.zstd.compress(b"abc")
    assert limits.unpack_zstd(frame + frame) == b"abcabc"
    with pytest.raises(ValueError, match="cut short"):
        limits.unpack_zstd(frame[:-1])


@pytest.mark.parametrize(
    "change",
    [
        f"DROP TABLE schema; CREATE VIEW schema AS {ENDLESS};",
        "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, "
        "data BLOB GENERATED ALWAYS AS (zeroblob(900000000))); "
        "INSERT INTO messages(topic_id, timestamp) SELECT id, 1 FROM topics;",
    ],
    ids=["endless view", "computed message"],
)
def test_a_data_base_that_computes_is_refused(change: str, tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 1, StoragePlugin.SQLITE3)
    file = next(bag.glob("*.db3"))
    with sqlite3.connect(file) as base:
        base.executescript(change)
    with pytest.raises(DataError, match="drive"):
        read(file)


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("alone", [True, False])
def test_a_pipe_in_place_of_a_file_is_refused(storage: StoragePlugin, alone: bool, tmp_path: Path) -> None:
    bag = drive(tmp_path / "drive", 1, storage)
    file = next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match="is a pipe or a device"):
        read(file if alone else bag)
