"""Ground truth by stamp: a folder ``[<camera>/]<stamp_ns>.png``, or label images on topics of the replayed bags.

Labels are 0 known, 1 anomaly, 255 void; instance ids 0 none. Topics are first written out as such a folder, so that
there is one way to read and masks are held on disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m2a_core.data.files import read_truth
from m2a_core.errors import ConfigError, DataError, quoted
from m2a_core.images import write_png
from m2a_core.labels.label_map import read_stored_values
from m2a_ros.bag.cameras import camera_name
from m2a_ros.bag.cdr_header import stamp_or_recorded
from m2a_ros.bag.frames import stamp_of
from m2a_ros.bag.reader import IMAGE, Bag, UndecodableMessage, decode
from m2a_ros.images.conversions import image_to_array
from m2a_ros.images.encodings import ImageError
from m2a_ros.review.request import ReviewRequest, Source

LABELS, INSTANCES = "anomaly_labels", "instance_ids"
"""Last part of the topics that ``m2a bag make`` writes: ``/m2a/truth/<camera>/anomaly_labels``."""

Key = tuple[str, str, int]
"""Bag (empty: any), camera, stamp in nanoseconds."""


class Masks:
    """Masks by bag, camera and stamp.

    Attributes:
        problems: sentences on messages of label topics that could not be used.
        repeated: how many stamps came again; the first mask counts.
    """

    def __init__(self, root: Path, paths: Mapping[Key, Path]) -> None:
        """Take the masks' files; ``root`` is what their names are printed relative to."""
        self._root = root
        self._paths = dict(paths)
        self._unused = set(self._paths)
        self.problems: list[str] = []
        self.repeated = 0

    def find(self, bag: str, camera: str, stamp_ns: int) -> Path | None:
        """The file of a frame's mask, which then counts as used, or None."""
        for key in ((bag, camera, stamp_ns), ("", camera, stamp_ns)):
            if key in self._paths:
                self._unused.discard(key)
                return self._paths[key]
        return None

    def unused(self) -> list[str]:
        """Names of the masks that no frame asked for."""
        return sorted(self._paths[key].relative_to(self._root).as_posix() for key in self._unused)

    def __len__(self) -> int:
        """Number of masks."""
        return len(self._paths)


def folder_masks(option: str, folder: Path, cameras: Sequence[str]) -> Masks:
    """List the masks of a folder.

    Args:
        option: the option that names the folder, for messages.
        folder: PNGs at the image's size.
        cameras: names of the cameras that are evaluated.

    Raises:
        DataError: the folder does not exist or holds no mask, or a PNG's name is not a stamp.
        ConfigError: several cameras, but one folder for all.
    """
    if not folder.is_dir():
        raise DataError(
            f"{option} {folder}: no such folder; expected masks named by stamp, such as 1700000000040000000.png"
        )
    own = {camera: folder / camera for camera in cameras if (folder / camera).is_dir()}
    if not own and len(cameras) > 1:
        raise ConfigError(
            f"{option} {folder}: {len(cameras)} cameras are evaluated and stamps do not tell them apart; put the masks "
            f"into folders {', '.join(cameras)} in it"
        )
    paths: dict[Key, Path] = {}
    for camera, place in (own or {cameras[0]: folder}).items():
        paths |= {("", camera, _stamp(path)): path for path in sorted(place.glob("*.png"))}
    if not paths:
        raise DataError(f"{option} {folder}: no .png in it; expected masks named by stamp")
    return Masks(folder, paths)


def label_topics(option: str, arguments: Sequence[str], cameras: Sequence[str]) -> dict[str, str]:
    """Read ``TOPIC`` or ``TOPIC=CAMERA`` arguments: topic -> camera.

    Without a camera it is the one whose name is the last part but one of the topic, or the only one.

    Raises:
        ConfigError: the camera is not evaluated, cannot be told, or has two topics.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        topic, _, camera = argument.partition("=")
        if not camera:
            parts = {*topic.split("/"), camera_name(topic)}
            fitting = [name for name in cameras if name in parts]
            camera = fitting[0] if len(fitting) == 1 else cameras[0] if len(cameras) == 1 else ""
        if camera not in cameras or camera in found.values() or not topic.startswith("/"):
            raise ConfigError(
                f"{option} {argument}: expected /TOPIC=CAMERA, one a camera; cameras are {', '.join(cameras)}"
            )
        found[topic] = camera
    return found


def check_topics(option: str, topics: Mapping[str, str], sources: Sequence[Source]) -> None:
    """Make sure that some bag has each of the label topics as images.

    Raises:
        DataError: none has.
    """
    images: set[str] = set()
    for source in sources:
        with Bag(source.path) as bag:
            images |= {c.topic for c in bag.connections if c.msgtype == IMAGE and c.msgcount}
    for topic in topics.keys() - images:
        raise DataError(f"{option} {topic}: no bag has images there; image topics are {', '.join(sorted(images))}")


def topic_masks(topics: Mapping[str, str], sources: Sequence[Source], folder: Path) -> Masks:
    """Write the label images of bags to ``folder/BAG/CAMERA/STAMP.png``.

    Args:
        topics: topic -> camera.
        sources: the bags.
        folder: where; emptied first.

    Raises:
        DataError: a bag is damaged.
        OSError: it cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths: dict[Key, Path] = {}
    problems: list[str] = []
    repeated = 0
    for source in sources:
        with Bag(source.path) as bag:
            wanted = [c for c in bag.connections if c.topic in topics and c.msgtype == IMAGE]
            for connection, recorded, data in bag.messages(wanted):
                try:
                    # As the images: of two topics without stamps, times of recording may tell what belongs together.
                    message = decode(stamp_or_recorded(data, recorded)[0], IMAGE)
                    mask = image_to_array(message)
                except (ImageError, UndecodableMessage) as error:
                    problems.append(f"{source.name}: {connection.topic} recorded at {recorded}: {error}")
                    continue
                if mask.ndim != 2 or mask.dtype.kind not in "ui":
                    problems.append(
                        f"{source.name}: {connection.topic} recorded at {recorded}: expected mono8, mono16, 8UC1 or "
                        f"16UC1, got {quoted(message.encoding)}"
                    )
                    continue
                camera = topics[connection.topic]
                key = (source.name, camera, stamp_of(message))
                if key in paths:
                    repeated += 1
                    continue
                paths[key] = folder / source.name / camera / f"{key[2]}.png"
                write_png(paths[key], mask.astype(np.uint8 if mask.dtype.itemsize == 1 else np.uint16))
    masks = Masks(folder, paths)
    masks.problems, masks.repeated = problems, repeated
    return masks


class GroundTruth:
    """The labels and, maybe, instance ids of a replay.

    Args:
        request: the options.
        sources: the bags.
        work: where label topics are written out.

    Raises:
        ConfigError: options do not fit the cameras.
        DataError: there are no masks where the options say.
    """

    def __init__(self, request: ReviewRequest, sources: Sequence[Source], work: Path) -> None:
        """List the masks of folders; topics are read by ``open``."""
        cameras = list(dict.fromkeys(topic.camera for source in sources for topic in source.cameras))
        self._work = work
        self._labels = folder_masks("--gt", request.truth, cameras) if request.truth else None
        self._instances = folder_masks("--gt-instances", request.instances, cameras) if request.instances else None
        self._label_topics = label_topics("--gt-topic", request.truth_topics, cameras)
        self._instance_topics = label_topics("--gt-instances-topic", request.instance_topics, cameras)
        check_topics("--gt-topic", self._label_topics, sources)
        check_topics("--gt-instances-topic", self._instance_topics, sources)
        self.failed: list[str] = []
        self._refused: set[Path] = set()

    def open(self, sources: Sequence[Source]) -> None:
        """Read the label topics of bags, if there are any.

        Raises:
            DataError: a bag is damaged.
            OSError: the masks cannot be written.
        """
        if self._label_topics:
            self._labels = topic_masks(self._label_topics, sources, self._work / LABELS)
            self.failed += self._labels.problems
        if self._instance_topics:
            self._instances = topic_masks(self._instance_topics, sources, self._work / INSTANCES)
            self.failed += self._instances.problems

    @property
    def labels(self) -> Masks:
        """The label masks; of topics, after ``open``."""
        assert self._labels is not None
        return self._labels

    @property
    def has_instances(self) -> bool:
        """Whether there are instance ids."""
        return self._instances is not None

    def read(self, bag: str, camera: str, stamp_ns: int) -> np.ndarray | None:
        """A frame's labels, uint8 [H, W], or None where it has none.

        Raises:
            DataError: the mask cannot be read or holds other values, said once; then it counts as none.
        """
        path = self.labels.find(bag, camera, stamp_ns)
        if path is None or path in self._refused:
            return None
        try:
            return read_truth(path)
        except DataError:
            self._refused.add(path)
            raise

    def read_instances(self, bag: str, camera: str, stamp_ns: int) -> np.ndarray | None:
        """A frame's instance ids, integer [H, W], or None where it has none.

        Raises:
            DataError: the mask cannot be read.
        """
        path = None if self._instances is None else self._instances.find(bag, camera, stamp_ns)
        return None if path is None else read_stored_values(path)

    def close(self) -> None:
        """Delete what ``open`` wrote."""
        for name in (LABELS, INSTANCES):
            shutil.rmtree(self._work / name, ignore_errors=True)


def _stamp(path: Path) -> int:
    if not path.stem.isdecimal():
        raise DataError(f"{path}: the name is not a stamp; expected nanoseconds, such as 1700000000040000000.png")
    return int(path.stem)
