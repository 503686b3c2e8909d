"""Records of unknown objects in Parquet: one row for each tracked object, written and read row group by row group."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m2a_core.errors import DataError, quoted
from m2a_core.files import plain_name, relative_path, replaced
from m2a_core.harvest.parquet_pages import open_limited, text_bytes

OBJECTS = "objects.parquet"
ROW_GROUP, READ_AT_ONCE = 1024, 128
"""Rows that are written at a time, and that are in memory when they are read."""
_MAX_ROW = 1 << 20
_MAX_GROUP = READ_AT_ONCE * _MAX_ROW

NO_CLUSTER = -1

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("bag", pa.string(), nullable=False),
        pa.field("camera", pa.string(), nullable=False),
        pa.field("track_id", pa.int32(), nullable=False),
        pa.field("first_stamp_ns", pa.int64(), nullable=False),
        pa.field("last_stamp_ns", pa.int64(), nullable=False),
        pa.field("best_stamp_ns", pa.int64(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("score_mean", pa.float32(), nullable=False),
        pa.field("score_max", pa.float32(), nullable=False),
        pa.field("area_max_px", pa.int32(), nullable=False),
        pa.field("distance_min_m", pa.float32()),
        pa.field("x", pa.float64()),
        pa.field("y", pa.float64()),
        pa.field("z", pa.float64()),
        pa.field("frame_id", pa.string()),
        pa.field("box", pa.list_(pa.int32()), nullable=False),
        pa.field("crop_origin", pa.list_(pa.int32()), nullable=False),
        pa.field("crop", pa.string(), nullable=False),
        pa.field("mask", pa.string(), nullable=False),
        pa.field("crops", pa.list_(pa.string()), nullable=False),
        pa.field("masks", pa.list_(pa.string()), nullable=False),
        pa.field("classes", pa.list_(pa.string()), nullable=False),
        pa.field("full_mask", pa.string(), nullable=False),
        pa.field("image_height", pa.int32(), nullable=False),
        pa.field("image_width", pa.int32(), nullable=False),
        pa.field("frame", pa.string()),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
        pa.field("blocks", pa.list_(pa.int32()), nullable=False),
        pa.field("duplicate_of", pa.string()),
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("cluster_probability", pa.float32(), nullable=False),
    ]
)
"""Columns of ``objects.parquet``; ``ObjectRecord`` says what they mean."""

_NAMES = ("id", "duplicate_of")
"""They become file names."""
_PATHS = ("crop", "mask", "frame")
_PATH_LISTS = ("crops", "masks", "classes")


@dataclass(frozen=True)
class ObjectRecord:
    """One tracked unknown object.

    Attributes:
        id: stable: the same bag, model and settings of replay give the same; letters and digits.
        bag: name of the bag.
        camera: name of the camera.
        track_id: number of its track in the camera's results.
        first_stamp_ns: of the first frame that shows it, nanoseconds.
        last_stamp_ns: of the last one.
        best_stamp_ns: of the frame that the best crop is from.
        frames: frames that show it.
        score_mean: mean anomaly score over its pixels and frames, in [0, 1].
        score_max: the highest mean over its pixels in one frame.
        area_max_px: its largest area, pixels.
        distance_min_m: smallest distance to the vehicle's base along the ground, metres; None where unknown.
        x: where it stands at the frame of ``distance_min_m``, metres in ``frame_id``; None where unknown.
        y: see ``x``.
        z: see ``x``.
        frame_id: the frame of ``x``, ``y`` and ``z``; None where unknown.
        box: x0, y0, x1, y1 in the best frame, pixels, x1 and y1 exclusive.
        crop_origin: x, y of the best crop's upper left pixel in its frame.
        crop: the best crop with some surrounding, RGB PNG; a path in the harvest's folder, as all paths here.
        mask: PNG as large as the crop, 255 where the object is, else 0.
        crops: ``crop`` and the next best ones of other frames.
        masks: of ``crops``.
        classes: PNGs of the open-set masks in ``crops``, 8-bit ids of the model's classes: from which
            people are masked in pictures. Empty where none were kept.
        full_mask: COCO's compressed run lengths of the object in the whole best frame.
        image_height: of the best frame, pixels.
        image_width: of the best frame, pixels.
        frame: the whole best frame as JPEG; None where it was not kept.
        embedding: float32 [D], of length 1.
        blocks: sizes of the embedding's parts, each of which is from another source; empty for one alone.
        duplicate_of: id of the record that shows the same object earlier or later; None for a record of its own.
        cluster: number of its cluster, from 0; ``NO_CLUSTER`` for none. A duplicate has that of its original.
        cluster_probability: how sure it belongs there, in [0, 1].
    """

    id: str
    bag: str
    camera: str
    track_id: int
    first_stamp_ns: int
    last_stamp_ns: int
    best_stamp_ns: int
    frames: int
    score_mean: float
    score_max: float
    area_max_px: int
    box: tuple[int, int, int, int]
    crop_origin: tuple[int, int]
    crop: str
    mask: str
    crops: tuple[str, ...]
    masks: tuple[str, ...]
    full_mask: str
    image_height: int
    image_width: int
    embedding: np.ndarray
    distance_min_m: float | None = None
    x: float | None = None
    y: float | None = None
    z: float | None = None
    frame_id: str | None = None
    frame: str | None = None
    classes: tuple[str, ...] = ()
    blocks: tuple[int, ...] = ()
    duplicate_of: str | None = None
    cluster: int = NO_CLUSTER
    cluster_probability: float = 0.0

    @property
    def original(self) -> str:
        """Id of the record that stands for this object: its own, or the one that it is a duplicate of."""
        return self.duplicate_of or self.id


def write_records(path: Path, records: Iterable[ObjectRecord]) -> int:
    """Write records as they come; a killed process leaves the old file or the new one.

    Args:
        path: the file.
        records: at most ``ROW_GROUP`` of them are held at a time.

    Returns:
        How many they were.
    """
    count = 0
    with replaced(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for rows in _groups(records, ROW_GROUP):
            columns = [pa.array([_value(row, field.name) for row in rows], field.type) for field in SCHEMA]
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
            count += len(rows)
    return count


def read_records(path: Path) -> Iterator[ObjectRecord]:
    """Read records in the file's order, ``READ_AT_ONCE`` of them in memory.

    Raises:
        DataError: the file is missing, damaged, lacks a column, or has a path that leaves the harvest's folder.
    """
    for rows in read_columns(path, tuple(field.name for field in SCHEMA)):
        for row in rows:
            yield _record(row, path)


def read_columns(path: Path, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Some columns of a file of records, ``READ_AT_ONCE`` rows at a time; embeddings are float32 [D].

    Raises:
        DataError: the file is missing, damaged or lacks a column.
    """
    try:
        with open_limited(path, _MAX_GROUP) as file:
            _require_columns(file.metadata.schema.to_arrow_schema(), names, path)
            for batch in file.iter_batches(READ_AT_ONCE, columns=list(names)):
                batch.validate(full=True)
                if batch.nbytes + sum(map(text_bytes, batch.columns)) > _MAX_GROUP:
                    raise DataError(f"{path}: rows of more than {_MAX_ROW} bytes, not records of a harvest")
                yield _rows(batch)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:300]
        raise DataError(f"{path}: cannot be read as records of a harvest ({reason}); harvest again") from error


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows by column name. Embeddings never become Python's numbers, which take eight times their space."""
    names = [name for name in batch.schema.names if name != "embedding"]
    rows: list[dict[str, Any]] = batch.select(names).to_pylist()
    if len(names) < len(batch.schema.names):
        column = batch.column("embedding")
        ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy())
        parts = np.split(column.flatten().to_numpy(zero_copy_only=False), ends[:-1])
        for row, part, there in zip(rows, parts, column.is_valid().to_pylist(), strict=True):
            row["embedding"] = part.copy() if there else None
    return rows


def frame_classes(frame: str) -> str:
    """Path of the class ids of a whole frame, beside its picture; harvests of before this was kept have none."""
    return f"{frame.removesuffix('.jpg')}_classes.png"


def count_records(path: Path) -> int:
    """How many records a file holds.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with open_limited(path, _MAX_GROUP) as file:
            return int(file.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:300]
        raise DataError(f"{path}: cannot be read as records of a harvest ({reason}); harvest again") from error


def harvest_hash(ids_and_clusters: Iterable[tuple[str, int]]) -> str:
    """What tells one harvest from another: SHA-256, hex, over the sorted ids of its records with their clusters.

    Clusters belong to it: what a person named "cluster 3" must not mean another one.
    """
    lines = sorted(f"{identity} {cluster}\n" for identity, cluster in ids_and_clusters)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _require_columns(schema: pa.Schema, names: Sequence[str], path: Path) -> None:
    wrong = [
        name
        for name in names
        if name not in schema.names or not _alike(schema.field(name).type, SCHEMA.field(name).type)
    ]
    if wrong:
        raise DataError(
            f"{path}: no records of a harvest: column {', '.join(wrong)} is missing or of another type; "
            "harvest again with this version of m2a"
        )


def _alike(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether two types are the same, whatever the elements of lists are called."""
    if pa.types.is_list(want):
        return bool(pa.types.is_list(have)) and bool(have.value_type == want.value_type)
    return bool(have == want)


def _value(record: ObjectRecord, name: str) -> Any:
    value = getattr(record, name)
    return np.asarray(value, np.float32) if name == "embedding" else value


def _record(row: dict[str, Any], path: Path) -> ObjectRecord:
    optional = {field.name for field in SCHEMA if field.nullable}
    missing = [name for name, value in row.items() if value is None and name not in optional]
    if missing or len(row["box"]) != 4 or len(row["crop_origin"]) != 2:
        what = f"no {', '.join(missing)}" if missing else "a box or a crop of other than four and two numbers"
        raise DataError(f"{path}: record {quoted(str(row['id']))} has {what}; harvest again")
    for name in _NAMES:
        if row[name] is not None:
            plain_name(row[name], path)
    for name in _PATHS:
        if row[name] is not None:
            relative_path(row[name], path)
    for name in _PATH_LISTS:
        row[name] = tuple(relative_path(text, path) for text in row[name])
    for name in ("box", "crop_origin", "blocks"):
        row[name] = tuple(row[name])
    return ObjectRecord(**{field.name: row[field.name] for field in fields(ObjectRecord)})


def _groups(records: Iterable[ObjectRecord], size: int) -> Iterator[list[ObjectRecord]]:
    group: list[ObjectRecord] = []
    for record in records:
        group.append(record)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
