"""Limits for what bags unpack to, which their parser lacks: a small file can stand for any number of bytes.

Importing this module sets them in ``rosbags``, whose version is pinned.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

import apsw
from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]
from rosbags.rosbag2 import reader, storage_mcap
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

MAX_BYTES = 1 << 29
"""Of one message, or one chunk of an MCAP file."""


def unpack_zstd(data: bytes, size: int | None = None) -> bytes:
    """Unpack zstd.

    Args:
        data: whole frames.
        size: bytes that the result is said to have; at most ``MAX_BYTES`` are taken.

    Raises:
        ValueError: the result is larger, or the data are cut short.
    """
    parts, limit = [], _limit_of(size)
    while data:
        decompressor = zstd.ZstdDecompressor()
        parts.append(decompressor.decompress(data, limit + 1))
        limit -= _checked(len(parts[-1]), limit)
        if not decompressor.eof:
            raise ValueError("zstd data are cut short")
        data = decompressor.unused_data
    return b"".join(parts)


def _unpack_lz4(data: bytes, size: int) -> bytes:
    limit = _limit_of(size)
    unpacked: bytes = LZ4FrameDecompressor().decompress(data, limit + 1)
    _checked(len(unpacked), limit)
    return unpacked


def _limit_of(size: int | None) -> int:
    return MAX_BYTES if size is None else min(size, MAX_BYTES)


def _checked(size: int, limit: int) -> int:
    if size > limit:
        raise ValueError(f"unpacks to more than {limit} bytes")
    return size


class _File(zstd.ZstdFile):
    """A whole storage file that is unpacked into the folder of temporary files."""

    def __init__(self, file: Any, mode: Any) -> None:
        super().__init__(file, mode)
        self._left = shutil.disk_usage(tempfile.gettempdir()).free // 2

    def read(self, size: int | None = -1) -> bytes:
        """Read on, until half of the free space is used."""
        data = super().read(size)
        self._left -= _checked(len(data), self._left)
        return data


class LimitedSqlite3Reader(Sqlite3Reader):
    """Takes tables and no views, which may compute without end, and no larger values than messages can be."""

    def open(self) -> None:
        """Open; see ``Sqlite3Reader``."""
        apsw.connection_hooks.append(_limit)
        try:
            super().open()
        finally:
            apsw.connection_hooks.remove(_limit)


def _limit(connection: apsw.Connection) -> None:
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_BYTES)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)


storage_mcap.DECOMPRESSORS.update(zstd=unpack_zstd, lz4=_unpack_lz4)
setattr(reader, "zstd", SimpleNamespace(open=_File, decompress=unpack_zstd))  # noqa: B010 - not exported
