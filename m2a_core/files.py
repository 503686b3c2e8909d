"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from m2a_core.errors import DataError, shown

MAX_UNPACKED = 1 << 30
"""Bytes of all arrays of an .npz."""
MAX_TEXT = 1 << 31
"""Bytes; COCO's own annotations have half a gigabyte."""


_MAX_NAME, _MAX_PATH = 255, 1024
"""Bytes of a file's name, on every file system in use, and of a path in a document."""
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Where a file cannot have a second name: another file system, one without such links, or too many of them."""


def write_text(path: Path, text: str) -> None:
    """Write a text file; a killed process leaves the old one or the new one."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, by ``json_text``; as ``write_text``."""
    write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON (RFC 8259), which has no NaN and no infinity: such numbers become null.

    Args:
        value: of dictionaries, lists, tuples, NumPy scalars and arrays, text, numbers, None.
        indent: spaces a level; None for one line.
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """JSON values: numbers that are not finite are None, NumPy's are Python's."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or where the file system has no such links a copy.

    Args:
        source: the file; it is never written to.
        target: the new name.

    Raises:
        OSError: there is a ``target`` already, or it cannot be made.
    """
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # A target that is there may be another name of a source: writing to it would write to that.
        with source.open("rb") as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy)


def result_stem(name: Path) -> str:
    """What the results of a file are named by: its path ``name`` below its folder without suffix, ``_`` for ``/``."""
    return "_".join(name.with_suffix("").parts)


@contextmanager
def replaced(path: Path, alone: bool = True) -> Iterator[Path]:
    """A temporary path with the same ending; becomes ``path`` when the block ends well.

    Args:
        path: the file.
        alone: no other process writes it at the same time: what a killed one left is then written over.
    """
    # Not by the process's number: containers that share a volume count from one each.
    own = "" if alone else f".{os.urandom(4).hex()}"
    temporary = path.with_name(f".{path.stem}{own}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # In a folder from elsewhere, a link of that name would have another file written.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def relative_path(name: object, source: object) -> str:
    """A file name out of a document, such as ``file_name`` in COCO's: below the folder that it is looked up in.

    Links in that folder are followed: many data sets consist of them. Where a folder may come from strangers and what
    is read leaves the machine, resolve the path too; see ``Harvest.path``.

    Args:
        name: as it was read.
        source: the document, for the message.

    Raises:
        DataError: it is none: empty, absolute, leading out of the folder, with a character that no name has, or with a
            name that is too long for one.
    """
    path = PurePosixPath(name) if isinstance(name, str) else PurePosixPath()
    wrong = not path.parts or path.is_absolute() or ".." in path.parts or {"\\", "\0"} & set(str(path))
    sizes = [len(part.encode(errors="replace")) for part in path.parts]
    if wrong or max(sizes) > _MAX_NAME or sum(sizes) + len(sizes) > _MAX_PATH:
        raise DataError(
            f"{source}: {shown(name)} is no path below its folder; expected a relative one without '..', with '/'"
        )
    return str(name)


def plain_name(name: object, source: object) -> str:
    """A name out of a document that becomes that of a file or folder: one part of a path.

    Args:
        name: as it was read.
        source: the document, for the message.

    Raises:
        DataError: it is none.
    """
    if len(PurePosixPath(relative_path(name, source)).parts) > 1:
        raise DataError(f"{source}: {shown(name)} is no name of one file or folder; expected one without '/'")
    return str(name)


def read_regular(path: Path, limit: int) -> bytes:
    """Read a whole file that may come from anywhere.

    Args:
        path: the file.
        limit: bytes that it may have at most.

    Raises:
        OSError: it cannot be read, is larger, or is none that ends: a pipe, a device, a folder.
    """
    try:
        # Opening a pipe without a writer would wait for one.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no file name: {error}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes")
        # What the kernel makes up, such as files of /proc, says that it has no bytes.
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size + 1)
    finally:
        os.close(descriptor)
    if len(content) > status.st_size:
        raise OSError(errno.EBUSY, "grows while it is read")
    return content


def require_regular(path: Path) -> None:
    """Raise OSError for a pipe, a device or a folder, which a library would wait for; a missing file is left to it."""
    if path.exists() and not path.is_file():
        raise OSError("not a regular file")


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises:
        OSError: see ``read_regular``; at most ``MAX_TEXT`` bytes.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_regular(path, MAX_TEXT).decode("utf-8-sig")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give another --out or delete the folder") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a .jsonl file.

    Raises:
        DataError: it cannot be read, or a line is no object.
    """
    try:
        lines = [json.loads(line) for line in read_text(path).splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); replay the bag again") from error
    if not all(isinstance(line, dict) for line in lines):
        raise DataError(f"{path}: expected an object in each line; replay the bag again")
    return lines


def read_array(path: Path, key: str | None = None, limit: int | None = None) -> np.ndarray:
    """Read a NumPy file.

    Args:
        path: .npy or .npz.
        key: which array of an .npz; None for the only one.
        limit: bytes that an .npz may unpack to; default: ``MAX_UNPACKED``.

    Raises:
        DataError: the file cannot be read or has no such array.
    """
    try:
        _require_sane(path, MAX_UNPACKED if limit is None else limit)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded.files)
            wanted = names[0] if key is None and len(names) == 1 else key
            if wanted not in names:
                asked = "exactly one array" if key is None else f"key '{key}'"
                raise DataError(f"{path}: expected {asked}, the file holds {names}")
            array: np.ndarray = loaded[wanted]
            return array
    # An encrypted archive is a RuntimeError to Python, an unknown compression a NotImplementedError.
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        RuntimeError,
        SyntaxError,
        MemoryError,
        OverflowError,
        tokenize.TokenError,
    ) as error:
        raise DataError(f"{path}: cannot be read as a NumPy file ({str(error)[:300]})") from error


def _require_sane(path: Path, limit: int) -> None:
    """Refuse an archive that says it unpacks to more than its arrays may have, before memory is taken."""
    require_regular(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > limit:
            raise ValueError(f"unpacks to {unpacked} bytes, expected at most {limit}")
