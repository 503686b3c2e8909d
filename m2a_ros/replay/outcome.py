"""From finished parts to what a replay leaves: output bags, videos, records and the summary."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_ros.conversions import image_to_array
from m2a_ros.replay.files import join_bags, replaced, write_text
from m2a_ros.replay.part import FRAMES, PROBLEMS, finished_parts, map_topic, overlay_topic, read_info, read_records
from m2a_ros.replay.reader import Bag, decode
from m2a_ros.replay.truth import TruthFolder
from m2a_ros.replay.video import OverlayVideo, frame_rate

OUTPUT_BAG = "bag"
_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Replayed:
    """A bag whose parts are all there.

    Attributes:
        name: its folder's name below the output folder.
        parts: where its parts are.
        cameras: names of its cameras.
    """

    name: str
    parts: Path
    cameras: tuple[str, ...]


def finish_bag(bag: Replayed, out: Path, truth: TruthFolder | None) -> dict[str, Any]:
    """Write a bag's output bag and videos, score it, and count.

    Args:
        bag: the bag.
        out: the output folder.
        truth: ground truth, or None.

    Returns:
        The bag's section of the summary.

    Raises:
        DataError: a video cannot be written.
        OSError: a file cannot be written.
    """
    parts = finished_parts(bag.parts)
    frames = [record for part in parts for record in read_records(part, FRAMES)]
    problems = [record for part in parts for record in read_records(part, PROBLEMS)]
    folder = out / bag.name
    if not (folder / OUTPUT_BAG).is_dir():
        join_bags(parts, folder / OUTPUT_BAG)
    by_camera: dict[str, list[dict[str, Any]]] = {camera: [] for camera in bag.cameras}
    for record in frames:
        by_camera[record["camera"]].append(record)
    sizes = _watch(folder, by_camera, truth)
    return {
        "name": bag.name,
        "messages": sum(read_info(part).messages for part in parts),
        "evaluated": len(frames),
        "not_evaluated": dict(sorted(Counter(record["reason"] for record in problems).items())),
        "cameras": {camera: _camera(records, sizes[camera]) for camera, records in by_camera.items()},
    }


def join_records(bags: list[Replayed], out: Path) -> tuple[dict[str, Any], str]:
    """Write ``frames.jsonl`` and ``problems.jsonl`` of all bags, in the order of the bags.

    Returns:
        Latencies by stage in milliseconds, and the SHA-256 over all frames' hashes.
    """
    parts = [part for bag in bags for part in finished_parts(bag.parts)]
    for name in (FRAMES, PROBLEMS):
        write_text(out / name, "".join((part / name).read_text(encoding="utf-8") for part in parts))
    latencies: dict[str, list[float]] = defaultdict(list)
    digest = hashlib.sha256()
    for line in (out / FRAMES).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        digest.update(record["hash"].encode())
        for stage, value in record["latencies_ms"].items():
            latencies[stage].append(value)
    return {stage: _spread(values) for stage, values in latencies.items()}, digest.hexdigest()


def remove_parts(bags: list[Replayed]) -> None:
    """Delete the parts of all bags."""
    for bag in bags:
        shutil.rmtree(bag.parts)


def _watch(
    folder: Path, by_camera: dict[str, list[dict[str, Any]]], truth: TruthFolder | None
) -> dict[str, Counter[str]]:
    """One pass over the output bag: videos, metrics, and the images' sizes by camera."""
    sizes: dict[str, Counter[str]] = {camera: Counter() for camera in by_camera}
    maps = {map_topic(camera, "anomaly_map"): camera for camera in by_camera}
    overlays = {overlay_topic(camera): camera for camera in by_camera}
    with Bag(folder / OUTPUT_BAG) as bag, ExitStack() as stack:
        videos = {}
        for camera, records in by_camera.items():
            if records:
                path = stack.enter_context(replaced(folder / f"overlay_{camera}.mp4"))
                videos[camera] = OverlayVideo(path, frame_rate([record["stamp_ns"] for record in records]))
        wanted = [c for c in bag.connections if c.topic in overlays or c.topic in maps]
        for connection, _, data in bag.messages(wanted):
            message = decode(data, connection.msgtype)
            if connection.topic in overlays:
                videos[overlays[connection.topic]].add(cv2.imdecode(message.data, cv2.IMREAD_COLOR))
                continue
            camera = maps[connection.topic]
            sizes[camera][f"{message.width}x{message.height}"] += 1
            if truth is not None:
                stamp = message.header.stamp
                truth.score(camera, stamp.sec * 1_000_000_000 + stamp.nanosec, image_to_array(message))
        for video in videos.values():
            video.close()
    return sizes


def _camera(records: list[dict[str, Any]], sizes: Counter[str]) -> dict[str, Any]:
    stamps = [record["stamp_ns"] for record in records]
    unknown = [record["unknown_instances"] for record in records]
    return {
        "frames": len(records),
        "sizes": dict(sizes.most_common()),
        "first_stamp_ns": min(stamps, default=None),
        "last_stamp_ns": max(stamps, default=None),
        "stamps_going_back": sum(after < before for before, after in pairwise(stamps)),
        "stamps_repeated": len(stamps) - len(set(stamps)),
        "frames_with_unknown_instances": sum(count > 0 for count in unknown),
        "unknown_instances": sum(unknown),
    }


def _spread(values: list[float]) -> dict[str, float]:
    figures = {f"p{p}": float(np.percentile(values, p)) for p in _PERCENTILES}
    return {name: round(value, 3) for name, value in {**figures, "max": max(values)}.items()}
