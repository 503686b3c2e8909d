"""What becomes of a bag's answers: parts that survive a kill, the output bag made of them, videos and records."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from m2a_core.files import write_json, write_text
from m2a_core.labels.label_set import LabelSet
from m2a_core.stream.camera_stream import Detections
from m2a_ros.bag.frames import Problem, Recorded, stamp_of
from m2a_ros.bag.reader import Bag, decode
from m2a_ros.outputs.topics import overlay_topic
from m2a_ros.replay.answer import Answer
from m2a_ros.replay.join_bags import join_bags
from m2a_ros.replay.part import OUTPUT, PartWriter, finished_parts, read_info, read_records, read_tracks
from m2a_ros.replay.video import OverlayVideo
from m2a_ros.review.layout import FRAMES, OUTPUT_BAG, PROBLEMS, film_path

PART_MESSAGES = 200
"""Messages in a part: what a kill costs at most."""

RESULT = "result.json"


class BagRecorder:
    """Writes what a replay finds out about one bag; a context manager. All of it may be called from one thread."""

    def __init__(
        self,
        folder: Path,
        parts: Path,
        cameras: tuple[str, ...],
        labels: LabelSet,
        threshold: float,
        part_messages: int = PART_MESSAGES,
    ) -> None:
        """Find out what is done already.

        Args:
            folder: where the results go.
            parts: where parts are kept until the bag is finished.
            cameras: names of the cameras.
            labels: the classes of the model.
            threshold: anomaly score from which a pixel is unknown.
            part_messages: messages in a part.
        """
        self._folder, self._parts, self._cameras = folder, parts, cameras
        self._labels, self._threshold, self._limit = labels, threshold, part_messages
        self._part: PartWriter | None = None
        self._videos: dict[str, OverlayVideo] = {}
        parts.mkdir(parents=True, exist_ok=True)
        infos = [read_info(part) for part in finished_parts(parts)]
        self._number = len(infos)
        self.done = sum(info.messages for info in infos)
        """Messages that an earlier, killed replay has done."""
        self.is_whole = bool(infos) and infos[-1].last
        """Whether it has done all of them."""

    def __enter__(self) -> BagRecorder:
        """Take up the videos where an earlier replay stopped."""
        self._videos = {camera: OverlayVideo(film_path(self._folder, camera)) for camera in self._cameras}
        for part in finished_parts(self._parts):
            self._show(part)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Drop what is unfinished, if the block did not end well."""
        if kind is None:
            return
        if self._part is not None:
            self._part.abandon()
        for video in self._videos.values():
            video.abandon()

    def tracks(self) -> Iterator[tuple[str, int, Detections]]:
        """Camera, stamp in nanoseconds and detections of the frames that an earlier, killed replay has done."""
        for part in finished_parts(self._parts):
            yield from read_tracks(part)

    def add_frame(self, answer: Answer) -> None:
        """Write an answer."""
        self._current().add_frame(answer)
        if answer.overlay is not None:
            self._videos[answer.camera].add(answer.stamp_ns, answer.overlay)
        self._roll()

    def add_problem(self, message: Recorded, stamp_ns: int | None, problem: Problem) -> None:
        """Note down a message that was not evaluated."""
        self._current().add_problem(message, stamp_ns, problem)
        self._roll()

    def finish(self, extra: dict[str, Any]) -> None:
        """Make the results visible: output bag, videos and records; ``result.json`` last.

        Args:
            extra: more for ``result.json``, by name.
        """
        if not self.is_whole:
            self._current().finish(last=True)
            self._part = None
        parts = finished_parts(self._parts)
        for video in self._videos.values():
            video.finish()
        if not (self._folder / OUTPUT_BAG).is_dir():
            join_bags(parts, self._folder / OUTPUT_BAG)
        for name in (FRAMES, PROBLEMS):
            write_text(self._folder / name, "".join((part / name).read_text(encoding="utf-8") for part in parts))
        write_json(self._folder / RESULT, {**_count(parts, self._cameras), **extra})
        shutil.rmtree(self._parts)

    def _current(self) -> PartWriter:
        if self._part is None:
            self._part = PartWriter(self._parts / f"{self._number:06d}", self._labels, self._threshold)
            self._number += 1
        return self._part

    def _roll(self) -> None:
        assert self._part is not None
        if self._part.messages == self._limit:
            self._part.finish(last=False)
            self._part = None

    def _show(self, part: Path) -> None:
        topics = {overlay_topic(camera): video for camera, video in self._videos.items()}
        with Bag(part / OUTPUT) as bag:
            for connection, _, data in bag.messages([c for c in bag.connections if c.topic in topics]):
                message = decode(data, connection.msgtype)
                topics[connection.topic].add(stamp_of(message), message.data)


def _count(parts: list[Path], cameras: tuple[str, ...]) -> dict[str, Any]:
    frames = [record for part in parts for record in read_records(part, FRAMES)]
    problems = [record for part in parts for record in read_records(part, PROBLEMS)]
    infos = [read_info(part) for part in parts]
    sizes: dict[str, Counter[str]] = {camera: Counter() for camera in cameras}
    for info in infos:
        for camera, counts in info.sizes.items():
            sizes[camera].update(counts)
    return {
        "messages": sum(info.messages for info in infos),
        "evaluated": len(frames),
        "not_evaluated": dict(sorted(Counter(record["reason"] for record in problems).items())),
        "cameras": {
            camera: _camera([record for record in frames if record["camera"] == camera], sizes[camera])
            for camera in cameras
        },
    }


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
        "stamps_zero": sum("stamp_was_zero" in record for record in records),
        "frame_ids": sorted({record["frame_id"] for record in records}),
        "odd_images": dict(sorted(Counter(record["oddity"] for record in records if "oddity" in record).items())),
        "degraded": dict(sorted(Counter(why for record in records for why in record.get("degraded", ())).items())),
        "frames_with_unknown_instances": sum(count > 0 for count in unknown),
        "unknown_instances": sum(unknown),
    }
