"""A bag's files, looked at apart from the parser: it takes incomplete ones for whole, and its errors name no remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from m2a_core.errors import MALFORMED, DataError, shown
from m2a_core.yaml_file import MAX_BYTES, parse_yaml
from m2a_ros.bag.mcap_file import MCAP_MAGIC, describe_mcap

STORAGE_SUFFIXES = (".mcap", ".db3")
METADATA = "metadata.yaml"

_INFORMATION = "rosbag2_bagfile_information"
_NEWEST_VERSION = 9
_STORAGES = ("mcap", "sqlite3")
_SQLITE_MAGIC = b"SQLite format 3\0"
_FOREIGN = {
    b"#ROSBAG": "a ROS 1 bag; convert it with `rosbags-convert --src {file} --dst {stem}_ros2`",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; fetch that with `git lfs pull`",
    b"\x28\xb5\x2f\xfd": "compressed as a whole with zstd; give the bag's folder, or unpack it with `zstd -d`",
    b"\x04\x22\x4d\x18": "compressed as a whole with lz4; unpack it",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"PK\x03\x04": "a ZIP archive; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x89HDF": "an HDF5 file",
}
_SQLITE_LEFTOVERS = {
    "-wal": "its write-ahead log, which holds messages that are not in the file itself yet",
    "-journal": "its journal, of changes that were interrupted",
}
_REINDEX = "`ros2 bag reindex {bag}` writes a new metadata.yaml"


def check_files(path: Path) -> None:
    """Make sure that a path can be a bag, and that its files are whole as far as files beside them tell.

    Args:
        path: bag folder with its ``metadata.yaml``, or a storage file.

    Raises:
        DataError: no such bag, no bag at all, no ``metadata.yaml``, a pipe or a device, or SQLite's log or journal
            beside a file.
    """
    if not path.exists():
        raise DataError(f"bag {path}: no such file or folder")
    for entry in [*path.iterdir()] if path.is_dir() else [path]:
        if entry.exists() and not entry.is_file() and not entry.is_dir():
            raise DataError(f"bag {path}: {entry.name} is a pipe or a device; give a bag of regular files")
    _check_closed(path)
    if path.is_dir():
        if (path / METADATA).is_file() and (damage := _unreadable(path)):
            raise DataError(f"bag {path}: its metadata.yaml is damaged ({damage}); {_REINDEX.format(bag=path)}")
        if not (path / METADATA).is_file():
            raise DataError(f"bag {path}: the folder has no metadata.yaml; {_instead_of(path)}")
    elif path.suffix not in STORAGE_SUFFIXES:
        expected = (
            f"expected a bag folder or a {' or '.join(STORAGE_SUFFIXES)} file; `m2a predict` reads images and videos"
        )
        raise DataError(f"bag {path}: {_foreign(path) or expected}")


def _instead_of(folder: Path) -> str:
    """What to give in place of a folder without metadata."""
    inside = sorted(folder.iterdir())
    if bags := [str(p) for p in inside if p.is_dir() and (p / METADATA).is_file()]:
        return f"give the {'bag' if len(bags) == 1 else 'bags'} in it: {' '.join(bags)}"
    if files := [p.name for p in inside if p.suffix in STORAGE_SUFFIXES]:
        return f"give its file instead ({', '.join(files)}), or run `ros2 bag reindex`"
    return "give a bag; to fix one run `ros2 bag reindex`"


def _read_metadata(path: Path) -> Any:
    """What ``metadata.yaml`` says, within limits that the parser of bags does not have."""
    file = path / METADATA
    if (size := file.stat().st_size) > MAX_BYTES:
        raise yaml.YAMLError(f"{size} bytes, expected at most {MAX_BYTES}")
    return parse_yaml(file.read_bytes(), aliases=True)


def _unreadable(path: Path) -> str | None:
    try:
        found = _read_metadata(path)
    except yaml.YAMLError as error:
        return " ".join(str(error).split())[:200]
    return _wrong_type(found.get(_INFORMATION) if isinstance(found, dict) else None)


def _wrong_type(information: Any) -> str | None:
    """Which value is of another type: the parser would take it as it is."""
    information = information if isinstance(information, dict) else {}
    topics = information.get("topics_with_message_count")
    topics = [topic for topic in topics if isinstance(topic, dict)] if isinstance(topics, list) else []
    number, text = (int, "a whole number"), (str, "text")
    places = [
        (information, "message_count", number),
        (information, "files", (list, "a list")),
        (information.get("duration"), "nanoseconds", number),
        (information.get("starting_time"), "nanoseconds_since_epoch", number),
        *((topic, "message_count", number) for topic in topics),
        *((topic.get("topic_metadata"), key, text) for topic in topics for key in ("name", "type")),
    ]
    for place, key, (kind, expected) in places:
        if isinstance(place, dict) and key in place and type(place[key]) is not kind:
            return f"{key} is {shown(place[key])}, expected {expected}"
    return None


def _check_closed(path: Path) -> None:
    """Make sure that SQLite left nothing beside a file that belongs into it."""
    for file in storage_files(path):
        for ending, what in _SQLITE_LEFTOVERS.items():
            beside = file.with_name(file.name + ending)
            if beside.exists() and beside.stat().st_size:
                raise DataError(
                    f"bag {path}: the recorder did not close {file.name}: beside it is {what} ({beside.name}). Stop "
                    f"the recorder, or have SQLite finish it: `sqlite3 {file} 'PRAGMA wal_checkpoint(TRUNCATE); SELECT "
                    f"count(*) FROM messages;'`; then {_REINDEX.format(bag=file.parent)}"
                )


def storage_files(path: Path) -> list[Path]:
    """The storage files of a bag, by name: all in its folder, or the one that it is."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix in STORAGE_SUFFIXES and p.is_file())


def explain(path: Path) -> str:
    """What a bag that cannot be parsed is, and what to do: the end of a sentence."""
    found = next((what for what in _findings(path) if what), None)
    if found is not None:
        return found
    tools = "`mcap recover` or `sqlite3 FILE .recover`"
    fix = f"save what is there with {tools}, then `ros2 bag reindex`" if path.is_dir() else f"try {tools}"
    return f"it was cut short, damaged or mixed up; if the recorder was killed, {fix}"


def _findings(path: Path) -> Iterator[str | None]:
    try:
        if path.is_dir():
            yield _metadata(path)
        for file in storage_files(path):
            yield _file(file)
    except OSError as error:
        yield f"it cannot be read ({error.strerror or error})"


def _metadata(path: Path) -> str | None:
    try:
        information: Any = _read_metadata(path)[_INFORMATION]
        version, names = int(information["version"]), [str(name) for name in information["relative_file_paths"]]
        storage, compression = information["storage_identifier"], information.get("compression_format")
        formats = {t["topic_metadata"]["serialization_format"] for t in information["topics_with_message_count"]}
    except (yaml.YAMLError, *MALFORMED, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return f"its metadata.yaml is damaged ({reason}); {_REINDEX.format(bag=path)}"
    if version > _NEWEST_VERSION:
        return (
            f"its metadata.yaml is of version {version}, and versions up to {_NEWEST_VERSION} are read; give its file "
            f"instead ({', '.join(names)})"
        )
    if missing := [name for name in names if not (path / Path(name).name).exists()]:
        return (
            f"its metadata.yaml names files that are not there: {', '.join(missing)}; bring them back, or without them "
            f"{_REINDEX.format(bag=path)}"
        )
    if storage not in ("", *_STORAGES):
        return f"its storage is '{storage}', and {' and '.join(_STORAGES)} are read; convert it with `ros2 bag convert`"
    if compression not in (None, "", "zstd"):
        return f"its compression is '{compression}', and zstd is read; convert it with `ros2 bag convert`"
    if other := sorted(formats - {"cdr"}):
        return (
            f"its messages are serialised as {', '.join(map(str, other))}, and cdr is read, which all common RMW "
            "implementations write; convert it with `ros2 bag convert` on the machine that recorded it"
        )
    return None


def _file(file: Path) -> str | None:
    foreign = _foreign(file)
    if foreign:
        return f"{file.name} is {foreign}"
    with file.open("rb") as stream:
        head = stream.read(len(_SQLITE_MAGIC))
    if not head:
        return f"{file.name} is empty; the recorder was killed before it wrote, or the disk was full"
    if not head.strip(b"\0"):
        return f"{file.name} begins with zeros; it was not written to disk before the machine stopped"
    if head.startswith(MCAP_MAGIC):
        return f"{file.name} is an MCAP file: rename it to .mcap" if file.suffix == ".db3" else describe_mcap(file)
    if head == _SQLITE_MAGIC:
        if file.suffix == ".mcap":
            return f"{file.name} is an SQLite file: rename it to .db3"
        return (
            f"{file.name} is a damaged SQLite file, or none of a bag: if it was cut short, save what is there with "
            f"`sqlite3 {file} .recover | sqlite3 recovered.db3`, then `ros2 bag reindex`"
        )
    kind = "MCAP" if file.suffix == ".mcap" else "SQLite"
    return f"{file.name} is not an {kind} file: it begins with {head[:8]!r}"


def _foreign(file: Path) -> str | None:
    with file.open("rb") as stream:
        head = stream.read(32)
    what = next((text for magic, text in _FOREIGN.items() if head.startswith(magic)), None)
    return None if what is None else what.format(file=file, stem=file.stem)
