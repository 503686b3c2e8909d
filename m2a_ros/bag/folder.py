"""The parser of bags, with what it lacks: folders that name no storage, and a look whether folder and files agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, cast

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader

from m2a_core.errors import DataError
from m2a_ros.bag.limits import LimitedSqlite3Reader
from m2a_ros.bag.storage import storage_files

_BY_ENDING = {".mcap": McapReader, ".db3": LimitedSqlite3Reader}


def _by_ending(file: Path) -> Any:
    """The storage of a file whose folder names none: ``ros2 bag reindex`` leaves the name empty."""
    return _BY_ENDING[file.suffix](file)


class _FolderReader(DirectoryReader):
    STORAGE_PLUGINS: Any = {**DirectoryReader.STORAGE_PLUGINS, "sqlite3": LimitedSqlite3Reader, "": _by_ending}

    def open(self) -> None:
        """Open; a topic whose quality of service folder and files write differently is the same topic all the same."""
        super().open()
        for storage in self.storages:
            storage.connections[:] = [self._aligned(connection) for connection in storage.connections]

    def _aligned(self, stored: Connection) -> Connection:
        named = [c for c in self.connections if (c.topic, c.msgtype) == (stored.topic, stored.msgtype)]
        if not named or any(c.ext == stored.ext for c in named):
            return stored
        return stored._replace(ext=named[0].ext)


class BagReader(Reader):
    """Reads bag folders and storage files."""

    STORAGE_PLUGINS: Any = {**Reader.STORAGE_PLUGINS, "dir": _FolderReader, ".db3": LimitedSqlite3Reader}

    def open(self) -> None:
        """Open; an MCAP file whose chunks have no index of messages is read from its beginning to its end."""
        super().open()
        for storage in getattr(self.storage, "storages", [self.storage]):
            if isinstance(storage, McapReader) and not any(chunk.channel_count for chunk in storage.chunks):
                storage.chunks.clear()


def check_folder(reader: BagReader) -> None:
    """Make sure that the ``metadata.yaml`` of an open bag says what its files hold.

    The parser takes topics and counts from the one and messages from the other: what only one of them has is left out.

    Raises:
        DataError: they differ.
    """
    folder = reader.storage
    if not isinstance(folder, DirectoryReader):
        return
    path, storages = cast(Path, reader.path), cast(list[Any], folder.storages)
    remedy = f"`ros2 bag reindex {path}` writes a new metadata.yaml"
    files = {storage.path.name for storage in storages}
    compressed = folder.metadata.compression_mode == "file"
    if not compressed and (unlisted := sorted(file.name for file in storage_files(path) if file.name not in files)):
        raise DataError(
            f"bag {path}: {', '.join(unlisted)} is in the folder, but not in its metadata.yaml; if it belongs "
            f"to the bag, {remedy}, else move it away"
        )
    said: Counter[tuple[str, str]] = Counter()
    held: Counter[tuple[str, str]] = Counter()
    for connection in folder.connections:
        said[connection.topic, connection.msgtype] += connection.msgcount
    for storage in storages:
        for connection in storage.connections:
            held[connection.topic, connection.msgtype] += connection.msgcount
    for topic, kind in sorted(said.keys() | held.keys()):
        if said[topic, kind] != held[topic, kind]:
            raise DataError(
                f"bag {path}: {topic} ({kind}) holds {held[topic, kind]} messages in its files, but its "
                f"metadata.yaml says {said[topic, kind]}; {remedy}"
            )
