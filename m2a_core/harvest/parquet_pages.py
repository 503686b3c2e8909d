"""What the pages of a Parquet file take in memory, by their own headers: the reader believes these, not the footer.

Format: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, ``PageHeader``, in Thrift's
compact protocol.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from m2a_core.errors import MALFORMED, DataError
from m2a_core.files import require_regular
from m2a_core.varint import read_varint

_MAX_HEADER, _MAX_DEPTH, _MAX_PAGES = 1 << 14, 4, 1 << 14
"""Bytes of a page's header, structs in one another, pages of a column in a row group."""
_VALUE = 8
"""Bytes of one number, index or offset, at most."""
_SIZE, _STORED, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8
"""Numbers of the fields of ``PageHeader``; field 1 of the last three counts values."""


def open_limited(path: Path, limit: int) -> pq.ParquetFile:
    """Open a file of records. Texts stay in their dictionaries: one long text may stand in every row.

    Args:
        path: the file.
        limit: bytes that a row group may take in memory.

    Raises:
        DataError: a row group would take more.
        OSError: it cannot be read; also ``pyarrow.ArrowException``.
    """
    require_regular(path)
    metadata = pq.read_metadata(path)
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        size = group_size(path, group)
        if size > limit:
            raise DataError(
                f"{path}: a row group would take {size:,} bytes, more than {limit:,}: no records of a harvest; "
                "harvest again"
            )
    leaves = map(metadata.schema.column, range(metadata.num_columns))
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    return pq.ParquetFile(path, metadata=metadata, read_dictionary=texts)


def text_bytes(column: pa.Array) -> int:
    """Bytes of a column's texts once they have left their dictionary; 0 for numbers."""
    values = column.flatten() if pa.types.is_list(column.type) else column
    if not pa.types.is_dictionary(values.type):
        return 0
    return int(pc.sum(pc.take(pc.binary_length(values.dictionary), values.indices)).as_py() or 0)


def group_size(path: Path, group: pq.RowGroupMetaData) -> int:
    """Bytes that a row group takes in memory at most, while its texts stay in their dictionaries.

    Args:
        path: the file.
        group: of its footer.

    Raises:
        OSError: it cannot be read, or holds no pages where the footer says so.
    """
    total = 0
    with path.open("rb") as file:
        for column in map(group.column, range(group.num_columns)):
            start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)), default=0)
            total += _chunk_size(file, start, start + column.total_compressed_size)
    return total


def _chunk_size(file: BinaryIO, at: int, end: int) -> int:
    total = pages = 0
    while at < end:
        try:
            file.seek(at)
            header, length = _struct(file.read(_MAX_HEADER), 0)
            counts = [header[field][1] for field in (_DATA, _DICTIONARY, _DATA_V2) if field in header]
            size, stored = header[_SIZE], header[_STORED]
            if min(size, stored, *counts) < 0:
                raise ValueError("a negative size")
            if (pages := pages + 1) > _MAX_PAGES:
                raise ValueError("too many pages")
        except MALFORMED as error:
            raise OSError(f"no page at byte {at}: {error}") from error
        total += size + _VALUE * sum(counts)
        at += length + stored
    return total


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Fields of a struct by number, and where it ends; only types that page headers have."""
    fields: dict[int, Any] = {}
    number = 0
    while byte := data[at]:
        at += 1
        kind, step = byte & 15, byte >> 4
        if step == 0:
            step, at = _integer(data, at)
            number = 0
        number += step
        if kind in (1, 2):
            fields[number] = kind == 1
        elif kind in (4, 5, 6):
            fields[number], at = _integer(data, at)
        elif kind == 8:
            length, at = read_varint(data, at)
            at += length
        elif kind == 12 and depth < _MAX_DEPTH:
            fields[number], at = _struct(data, at, depth + 1)
        else:
            raise ValueError(f"a field of type {kind}")
    return fields, at + 1


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at
