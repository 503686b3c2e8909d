"""What becomes of a bag's frames: chunks that survive a kill, the output bag made of them, videos and records."""

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
from m2a_ros.replay.chunk import OUTPUT, ChunkWriter, finished_chunks, read_info, read_records, read_tracks
from m2a_ros.replay.join_bags import join_bags
from m2a_ros.replay.published_frame import PublishedFrame
from m2a_ros.replay.video import OverlayVideo
from m2a_ros.review.layout import FRAMES, OUTPUT_BAG, PROBLEMS, film_path

CHUNK_MESSAGES = 200
"""Messages in a chunk: what a kill costs at most."""

RESULT = "result.json"


class BagRecorder:
    """Writes what a replay finds out about one bag; a context manager. All of it may be called from one thread."""

    def __init__(
        self,
        folder: Path,
        chunks: Path,
        cameras: tuple[str, ...],
        labels: LabelSet,
        threshold: float,
        chunk_messages: int = CHUNK_MESSAGES,
    ) -> None:
        """Find out what is done already.

        Args:
            folder: where the results go.
            chunks: where chunks are kept until the bag is finished.
            cameras: names of the cameras.
            labels: the classes of the model.
            threshold: anomaly score from which a pixel is unknown.
            chunk_messages: messages in a chunk.
        """
        self._folder, self._chunks, self._cameras = folder, chunks, cameras
        self._labels, self._threshold, self._limit = labels, threshold, chunk_messages
        self._chunk: ChunkWriter | None = None
        self._videos: dict[str, OverlayVideo] = {}
        chunks.mkdir(parents=True, exist_ok=True)
        infos = [read_info(chunk) for chunk in finished_chunks(chunks)]
        self._number = len(infos)
        self.done = sum(info.messages for info in infos)
        """Messages that an earlier, killed replay has done."""
        self.is_whole = bool(infos) and infos[-1].last
        """Whether it has done all of them."""

    def __enter__(self) -> BagRecorder:
        """Take up the videos where an earlier replay stopped."""
        self._videos = {camera: OverlayVideo(film_path(self._folder, camera), self._labels) for camera in self._cameras}
        for chunk in finished_chunks(self._chunks):
            self._show(chunk)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Drop what is unfinished, if the block did not end well."""
        if kind is None:
            return
        if self._chunk is not None:
            self._chunk.abandon()
        for video in self._videos.values():
            video.abandon()

    def tracks(self) -> Iterator[tuple[str, int, Detections]]:
        """Camera, stamp in nanoseconds and detections of the frames that an earlier, killed replay has done."""
        for chunk in finished_chunks(self._chunks):
            yield from read_tracks(chunk)

    def add_frame(self, frame: PublishedFrame) -> None:
        """Write a frame."""
        self._current().add_frame(frame)
        if frame.overlay is not None:
            self._videos[frame.camera].add(frame.stamp_ns, frame.overlay)
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
            self._chunk = None
        chunks = finished_chunks(self._chunks)
        for video in self._videos.values():
            video.finish()
        if not (self._folder / OUTPUT_BAG).is_dir():
            join_bags(chunks, self._folder / OUTPUT_BAG)
        for name in (FRAMES, PROBLEMS):
            write_text(self._folder / name, "".join((chunk / name).read_text(encoding="utf-8") for chunk in chunks))
        write_json(self._folder / RESULT, {**_count(chunks, self._cameras), **extra})
        shutil.rmtree(self._chunks)

    def _current(self) -> ChunkWriter:
        if self._chunk is None:
            self._chunk = ChunkWriter(self._chunks / f"{self._number:06d}", self._labels, self._threshold)
            self._number += 1
        return self._chunk

    def _roll(self) -> None:
        assert self._chunk is not None
        if self._chunk.messages == self._limit:
            self._chunk.finish(last=False)
            self._chunk = None

    def _show(self, chunk: Path) -> None:
        topics = {overlay_topic(camera): video for camera, video in self._videos.items()}
        with Bag(chunk / OUTPUT) as bag:
            for connection, _, data in bag.messages([c for c in bag.connections if c.topic in topics]):
                message = decode(data, connection.msgtype)
                topics[connection.topic].add(stamp_of(message), message.data)


def _count(chunks: list[Path], cameras: tuple[str, ...]) -> dict[str, Any]:
    frames = [record for chunk in chunks for record in read_records(chunk, FRAMES)]
    problems = [record for chunk in chunks for record in read_records(chunk, PROBLEMS)]
    infos = [read_info(chunk) for chunk in chunks]
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
