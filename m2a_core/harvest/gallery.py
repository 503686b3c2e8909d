"""The gallery: one page without a server, in which a person looks through the clusters, names them and saves that."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone

import cv2
import numpy as np
from markupsafe import Markup

from m2a_core.errors import DataError
from m2a_core.files import json_text, write_text
from m2a_core.harvest.blur import blur
from m2a_core.harvest.choices import CHOICES, FORMAT, MAX_NAME
from m2a_core.harvest.folder import GALLERY, Harvest
from m2a_core.harvest.records import NO_CLUSTER, ObjectRecord
from m2a_core.images import decode_stored, read_bytes, read_image
from m2a_core.labels.label_set import LabelSet
from m2a_core.reporting.page import render

FIRST_SHOWN, MOST_SHOWN = 12, 60
"""Pictures of a cluster that are there at once, and after a click."""

MOST_PICTURES = 2_000
"""In the page, of all clusters."""

_SIDE = 240
_OUTLINE = (255, 176, 32)


@dataclass
class _Group:
    """A cluster as the page shows it."""

    number: int
    objects: int = 0
    tracks: int = 0
    bags: set[str] = field(default_factory=set)
    distance: float | None = None
    score: float = 0.0
    probability: float = 0.0
    best: list[tuple[tuple[float, str], ObjectRecord]] = field(default_factory=list)

    def add(self, record: ObjectRecord) -> None:
        """Take up a record; pictures of the best ``MOST_SHOWN`` are kept in mind."""
        self.tracks += 1
        self.bags.add(record.bag)
        if record.duplicate_of is not None:
            return
        self.objects += 1
        self.score += record.score_mean
        self.probability += record.cluster_probability
        if record.distance_min_m is not None:
            self.distance = min(np.inf if self.distance is None else self.distance, record.distance_min_m)
        worth = (record.cluster_probability + record.score_mean * np.log1p(record.area_max_px) / 20, record.id)
        entry = (worth, record)
        if len(self.best) < MOST_SHOWN:
            heapq.heappush(self.best, entry)
        else:
            heapq.heappushpop(self.best, entry)

    def shown(self) -> list[ObjectRecord]:
        """The best ones, best first."""
        return [record for _, record in sorted(self.best, key=lambda entry: entry[0], reverse=True)]


def write_gallery(harvest: Harvest, labels: LabelSet, hidden: frozenset[int] = frozenset()) -> None:
    """Write ``gallery.html`` of a harvest.

    Args:
        harvest: whose.
        labels: the model's classes.
        hidden: ids of classes that are masked in the pictures.

    Raises:
        DataError: the records or their pictures are damaged.
    """
    groups: dict[int, _Group] = {}
    for record in harvest.records():
        groups.setdefault(record.cluster, _Group(record.cluster)).add(record)
    order = sorted(groups.values(), key=lambda group: (group.number == NO_CLUSTER, group.number))
    left, clusters = MOST_PICTURES, []
    for group in order:
        shown = group.shown()[:left]
        left -= len(shown)
        clusters.append(_described(group, [_object(harvest, record, hidden) for record in shown]))
    page = render(
        "m2a_core.harvest",
        "gallery.html",
        name=harvest.folder.resolve().name,
        clusters=[cluster for cluster in clusters if cluster["number"] != NO_CLUSTER],
        others=[cluster for cluster in clusters if cluster["number"] == NO_CLUSTER],
        objects=sum(group.objects for group in order),
        tracks=sum(group.tracks for group in order),
        bags=len(set().union(*(group.bags for group in order))),
        hidden=sorted(labels.names[number] for number in hidden),
        first=FIRST_SHOWN,
        choices=CHOICES,
        max_name=MAX_NAME,
        facts=_script_json({"format": FORMAT, "harvest": harvest.hash}),
    )
    write_text(harvest.folder / GALLERY, page)


def picture(harvest: Harvest, record: ObjectRecord, hidden: frozenset[int], number: int = 0) -> np.ndarray:
    """A crop of a record, masked where it shows hidden classes: uint8 [h, w, 3], RGB.

    Args:
        harvest: whose record it is.
        record: the record.
        hidden: ids of classes to mask.
        number: which of its crops.

    Raises:
        DataError: a file is missing or damaged, or a crop has no class ids although classes are to be masked.
    """
    image = read_image(harvest.path(record.crops[number]))
    if not hidden:
        return image
    if number >= len(record.classes):
        raise DataError(
            f"{harvest.objects}: record {record.id} has no class ids to mask its pictures by; harvest again"
        )
    return blur(image, read_stored(harvest, record.classes[number], image.shape[:2]), hidden)


def read_stored(harvest: Harvest, relative: str, size: tuple[int, ...]) -> np.ndarray:
    """A mask or class ids of a crop: uint8 [h, w].

    Raises:
        DataError: the file is missing, damaged or of another size than ``size``.
    """
    path = harvest.path(relative)
    values = decode_stored(read_bytes(path), str(path))
    if values.dtype != np.uint8 or values.shape != tuple(size):
        raise DataError(
            f"{path}: expected 8 bits [{size[0]}, {size[1]}] as its crop, got {values.dtype} {values.shape}"
        )
    return values


def _described(group: _Group, objects: list[dict[str, object]]) -> dict[str, object]:
    return {
        "number": group.number,
        "objects": group.objects,
        "tracks": group.tracks,
        "bags": len(group.bags),
        "distance": group.distance,
        "score": group.score / max(1, group.objects),
        "probability": group.probability / max(1, group.objects),
        "shown": objects,
    }


def _object(harvest: Harvest, record: ObjectRecord, hidden: frozenset[int]) -> dict[str, object]:
    image = picture(harvest, record, hidden)
    mask = read_stored(harvest, record.mask, image.shape[:2])
    return {
        "id": record.id,
        "picture": _outlined(image, mask),
        "facts": list(_facts(record)),
        "label": f"{record.bag}, {record.camera}, track {record.track_id}",
    }


def _facts(record: ObjectRecord) -> Iterator[tuple[str, str]]:
    when = datetime.fromtimestamp(record.first_stamp_ns / 1e9, timezone.utc)
    yield "bag", record.bag
    yield "camera, track", f"{record.camera}, {record.track_id}"
    yield "first seen", f"{when:%Y-%m-%d %H:%M:%S} UTC (stamp {record.first_stamp_ns})"
    yield "frames", f"{record.frames} in {(record.last_stamp_ns - record.first_stamp_ns) / 1e9:.1f} s"
    yield "score", f"{record.score_mean:.3f} on average, {record.score_max:.3f} at most"
    yield "largest area", f"{record.area_max_px:,} pixels"
    if record.distance_min_m is not None:
        yield "nearest", f"{record.distance_min_m:.1f} m"
    if record.x is not None and record.y is not None:
        yield "place", f"x {record.x:.1f}, y {record.y:.1f} m ({record.frame_id})"
    if record.cluster != NO_CLUSTER:
        yield "belongs to the cluster", f"{100 * record.cluster_probability:.0f} %"


def _outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thumbnail with the object's outline, at most ``_SIDE`` pixels a side."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, size, interpolation=method)
    outline = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) > 127
    contours = cv2.findContours(outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    drawn: np.ndarray = cv2.drawContours(np.ascontiguousarray(small), contours, -1, _OUTLINE, 1, cv2.LINE_AA)
    return drawn


def _script_json(value: object) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    return Markup(json_text(value).replace("<", "\\u003c"))
