from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.errors import DataError
from m2a_core.harvest.folder import INFO, Harvest
from m2a_core.harvest.parquet_pages import group_size
from m2a_core.harvest.records import ROW_GROUP, SCHEMA, count_records, harvest_hash, read_records, write_records
from test.harvest.harvests import record, write_harvest


def same(a, b):
    return all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    )


def test_records_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "objects.parquet"
    written = [
        record(0),
        record(
            1,
            distance_min_m=4.5,
            x=4.5,
            y=-1.0,
            z=0.0,
            frame_id="base_link",
            frame="frames/1.jpg",
            cluster=2,
            duplicate_of=record(0).id,
            cluster_probability=0.5,
            crops=("a.png", "b.png"),
            masks=("c.png", "d.png"),
            blocks=(1, 3),
        ),
    ]
    assert write_records(path, written) == 2
    back = list(read_records(path))
    assert len(back) == 2
    assert all(map(same, back, written))
    assert back[1].original == written[0].id
    assert back[0].embedding.dtype == np.float32


def test_columns_can_be_read_by_other_tools(tmp_path):
    write_records(tmp_path / "objects.parquet", [record(3)])
    table = pq.read_table(tmp_path / "objects.parquet")
    assert table.column("id").to_pylist() == [record(3).id]
    assert table.column("embedding").to_pylist() == [[0.0, 0.0, 0.0, 1.0]]
    assert table.schema.field("embedding").type == pa.list_(pa.float32())


def test_file_is_written_in_row_groups_whatever_the_number_of_records(tmp_path):
    path = tmp_path / "objects.parquet"
    count = ROW_GROUP + 5
    assert write_records(path, (record(number) for number in range(count))) == count
    assert pq.ParquetFile(path).num_row_groups == 2
    assert count_records(path) == count
    assert [item.track_id for item in read_records(path)] == list(range(1, count + 1))


def test_no_records_are_a_file_too(tmp_path):
    assert write_records(tmp_path / "objects.parquet", []) == 0
    assert list(read_records(tmp_path / "objects.parquet")) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "columns", "type"])
def test_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "objects.parquet"
    write_records(path, [record(0)])
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "columns":
        pq.write_table(pq.read_table(path).drop_columns(["crop"]), path)
    elif damage == "type":
        table = pq.read_table(path)
        pq.write_table(table.set_column(3, "track_id", pa.array(["1"])), path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"id,bag\n"}[damage])
    with pytest.raises(DataError, match="objects.parquet"):
        list(read_records(path))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.png", "crops/../../x.png", "", "a\\b.png"])
@pytest.mark.parametrize("field", ["crop", "frame", "masks"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, path, field):
    value = (path,) if field == "masks" else path
    write_records(tmp_path / "objects.parquet", [record(0, **{field: value})])
    with pytest.raises(DataError, match="no path below its folder"):
        list(read_records(tmp_path / "objects.parquet"))


@pytest.mark.parametrize("field", ["id", "duplicate_of"])
@pytest.mark.parametrize("value", ["/x", "../../x", "a/b"])
def test_ids_that_would_become_files_elsewhere_are_refused(tmp_path, field, value):
    write_records(tmp_path / "objects.parquet", [record(0, **{field: value})])
    with pytest.raises(DataError, match="no path below its folder|no name of one file"):
        list(read_records(tmp_path / "objects.parquet"))


def test_a_pipe_in_place_of_records_is_refused(tmp_path):
    os.mkfifo(tmp_path / "objects.parquet")
    for read in (count_records, lambda path: list(read_records(path))):
        with pytest.raises(DataError, match="not a regular file"):
            read(tmp_path / "objects.parquet")


@pytest.mark.slow
def test_text_that_is_small_in_the_file_and_large_in_memory_is_refused(tmp_path):
    path = tmp_path / "objects.parquet"
    write_records(path, (dataclasses.replace(record(i), camera="c" * 2**21) for i in range(100)))
    assert path.stat().st_size < 2**20
    with pytest.raises(DataError, match="rows of more than 1048576 bytes"):
        list(read_records(path))


def test_value_that_must_be_there_is_missed(tmp_path):
    write_records(tmp_path / "objects.parquet", [record(0)])
    table = pq.read_table(tmp_path / "objects.parquet")
    nameless = table.set_column(0, pa.field("id", pa.string()), pa.array([None], pa.string()))
    pq.write_table(nameless, tmp_path / "objects.parquet")
    with pytest.raises(DataError, match="has no id"):
        list(read_records(tmp_path / "objects.parquet"))


@given(st.dictionaries(st.text("0123456789abcdef", min_size=1), st.integers(-1, 50)), st.randoms())
def test_hash_of_a_harvest_does_not_depend_on_the_order_and_does_on_everything_else(clusters, shuffled):
    items = list(clusters.items())
    digest = harvest_hash(items)
    shuffled.shuffle(items)
    assert harvest_hash(items) == digest
    assert harvest_hash([*items, ("g", -1)]) != digest
    if items:
        (identity, cluster), *rest = items
        assert harvest_hash([(identity, cluster + 1), *rest]) != digest


def test_folder_opens_with_its_records(tmp_path):
    harvest = write_harvest(tmp_path / "harvest", [record(0, cluster=1), record(1)])
    assert [item.id for item in harvest.records()] == [record(0).id, record(1).id]
    assert harvest.clusters() == {record(0).id: 1, record(1).id: -1}
    assert harvest.path(record(0).crop).is_file()


@pytest.mark.parametrize("content", [None, "[]", '{"format": 2}', '{"format": 1}', "{"])
def test_folder_without_a_finished_harvest_is_named(tmp_path, content):
    harvest = write_harvest(tmp_path / "harvest", [record(0)])
    info = harvest.folder / INFO
    info.unlink() if content is None else info.write_text(content)
    with pytest.raises(DataError, match=str(harvest.folder)):
        Harvest.open(harvest.folder)


def test_link_out_of_the_folder_is_refused(tmp_path):
    harvest = write_harvest(tmp_path / "harvest", [record(0)])
    (tmp_path / "secret.png").write_bytes(b"x")
    crop = harvest.folder / record(0).crop
    crop.unlink()
    crop.symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="leads out of"):
        harvest.path(record(0).crop)


def test_info_says_format_and_version(tmp_path):
    info = json.loads((write_harvest(tmp_path / "harvest", [record(0)]).folder / INFO).read_text())
    assert {"format", "m2a", "harvest", "model", "settings"} <= info.keys()
    assert SCHEMA.names[0] == "id"


def forged(path, **columns):
    """A file of records, small on disk, with some columns replaced."""
    rows = len(next(iter(columns.values())))
    write_records(path, [record(number) for number in range(rows)])
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(
            SCHEMA.names.index(name), SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type)
        )
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 100_000


def floats(count):
    return pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.array(np.zeros(count, np.float32)))


def lying(source, path, count):
    """A copy whose footer says 1 where it said ``count``: as Thrift's number of as many bytes."""
    content = source.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    number = bytes([*((count << 1 >> shift & 127) | 128 for shift in (0, 7, 14, 21)), count << 1 >> 28])
    assert number in content[start:]
    path.write_bytes(content[:start] + content[start:].replace(number, b"\x82\x80\x80\x80\x00"))


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_pages_are_as_large_as_the_honest_writer_says(tmp_path, compression):
    path = tmp_path / "a.parquet"
    table = pa.table({"a": [1, 2, 3] * 50_000, "b": ["x", "yy", None] * 50_000, "c": [[1.5] * 3, [], None] * 50_000})
    pq.write_table(table, path, compression=compression, data_page_size=1 << 12, row_group_size=100_000)
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == 2
    for number in range(2):
        group = metadata.row_group(number)
        columns = [group.column(c) for c in range(3)]
        stated = sum(column.total_uncompressed_size for column in columns)  # With the headers of the pages.
        values = 8 * sum(column.num_values for column in columns)
        assert 0.8 * stated + values < group_size(path, group) < stated + values + 8 * 100  # Dictionaries' entries.


@given(st.binary(max_size=200))
def test_what_are_no_pages_is_said_to_be_none(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("pages") / "a.parquet"
    write_records(path, [record(0)])
    group = pq.read_metadata(path).row_group(0)
    start = group.column(0).dictionary_page_offset
    path.write_bytes(path.read_bytes()[:start] + content)
    # Nothing but this error, and no end without one.
    with contextlib.suppress(OSError):
        assert group_size(path, group) >= 0


@pytest.mark.slow
def test_small_files_that_unpack_to_gigabytes_are_refused_before_memory_is_taken(tmp_path):
    forged(tmp_path / "list.parquet", embedding=floats(1 << 27))
    forged(tmp_path / "text.parquet", frame_id=["x" * (1 << 28)])
    forged(tmp_path / "rows.parquet", frame_id=["x" * (1 << 24)] * 30)
    lying(tmp_path / "list.parquet", tmp_path / "lying.parquet", 1 << 27)
    forged(tmp_path / "lists.parquet", crops=[["x" * (1 << 20)] * 60] * 8)
    code = """
import resource, sys
from pathlib import Path
from m2a_core.errors import DataError
from m2a_core.harvest.records import read_records
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).glob("*.parquet")):
    try:
        list(read_records(path))
    except DataError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    *errors, mebibytes = done.stdout.splitlines()
    assert len(errors) == 5, done
    assert all("records of a harvest" in error for error in errors)
    assert int(mebibytes) < 300
