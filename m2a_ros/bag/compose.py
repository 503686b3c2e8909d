"""Objects composed into a recorded bag, where they keep their place on the road while the car drives, with truth.

Every other message is copied byte by byte. The camera is taken as a pinhole without distortion or roll over a flat
road; where the bag has no calibration or no mounting, a usual one is assumed and that is said.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Writer

from m2a_core.compose.composer import compose_layers
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Cutout, Look, load_cutout, make_cutout
from m2a_core.compose.shapes import SHAPES
from m2a_core.errors import ConfigError, DataError, quoted
from m2a_core.geometry.projection import Mounting
from m2a_core.images import write_png
from m2a_core.progress import ProgressBar
from m2a_core.types import Frame
from m2a_ros.bag.calibration import find_mounting, parse_mountings, read_intrinsics, read_track
from m2a_ros.bag.cameras import CameraTopic, choose, parse_topics
from m2a_ros.bag.frames import Loaded, load_frames
from m2a_ros.bag.make import STORAGE, TRUTH_TOPIC
from m2a_ros.bag.messages import encoded, raw_image
from m2a_ros.bag.motion import Motion, from_texture, from_track
from m2a_ros.bag.reader import COMPRESSED, IMAGE, TYPESTORE, Bag, decode
from m2a_ros.bag.suitability import TRUTH_NAMES
from m2a_ros.images.encodings import ImageError, convert

FIRST_AHEAD_M, LAST_AHEAD_M = 10.0, 35.0
_LATERAL_M = (0.6, -1.3, 1.8, -0.4)
_OBJECT_HEIGHT_M = 0.8
_ASSUMED = Mounting(height=1.5)
_RAW_AS_IS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")


@dataclass(frozen=True)
class Composed:
    """What was made.

    Attributes:
        images: images with ground truth.
        skipped: images that could not be decoded and were copied as they are.
        objects: number of objects on the road.
        notes: what was assumed, in sentences.
    """

    images: int
    skipped: int
    objects: int
    notes: tuple[str, ...]


def compose_bag(
    path: Path,
    out: Path,
    storage: str,
    topic: str | None,
    objects: Path | None,
    every: float,
    mountings: Sequence[str] = (),
) -> Composed:
    """Write ``out/bag`` and ``out/truth/<stamp in nanoseconds>.png``; both appear when they are whole.

    Args:
        path: the recorded bag.
        out: where to write.
        storage: ``mcap`` or ``sqlite3``.
        topic: the image topic; None for the only one.
        objects: folder of PNGs with alpha; None for the project's own shapes.
        every: metres between objects along the road.
        mountings: see ``request.parse_mountings``.

    Raises:
        ConfigError: several cameras and no topic, ``every`` is not positive, ``out`` holds a bag, or the bag has topics
            of ground truth by these names.
        DataError: the bag is damaged or has no such images, or an object's picture cannot be used.
        OSError: it cannot be written.
    """
    if not every > 0:
        raise ConfigError(f"--every {every:g}: expected metres above 0")
    for name in ("bag", "truth"):
        if (out / name).exists():
            raise ConfigError(f"--out {out}: {name} exists already; give another --out or delete it")
    with Bag(path) as bag:
        used = choose(bag, parse_topics([topic] if topic else [])).used
        if len(used) > 1:
            raise ConfigError(
                f"bag {path}: {len(used)} cameras; choose one with --topic: {', '.join(t.topic for t in used)}"
            )
        truth_topics = {TRUTH_TOPIC.format(camera=used[0].camera, name=name) for name in TRUTH_NAMES}
        if taken := truth_topics & {connection.topic for connection in bag.connections}:
            raise ConfigError(f"bag {path} has ground truth already, {min(taken)}: give the bag as it was recorded")
        camera, motion, notes, brightness = _look_through(bag, used[0], parse_mountings(mountings))
        look = Look(0.8, brightness, 1.0, max(0.5, camera.width / 1600), 1.5, 0.55, (0.5, 0.3))
        cutouts = place_objects(motion.poses, every, look, objects)
        unfinished = out / ".partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "truth").mkdir(parents=True)
        with Writer(unfinished / "bag", version=9, storage_plugin=STORAGE[storage]) as writer:
            images, skipped, odd = _write(
                bag, used[0], writer, unfinished / "truth", cutouts, camera, motion.poses, look
            )
    for name in ("truth", "bag"):
        os.replace(unfinished / name, out / name)
    unfinished.rmdir()
    return Composed(images, skipped, len(cutouts), (*notes, *odd, f"motion from {motion.source}"))


def place_objects(poses: Sequence[Pose], every: float, look: Look, folder: Path | None) -> list[Cutout]:
    """Objects along the driven path and beyond its end, ``every`` metres, now left, now right of its middle.

    Raises:
        DataError: the folder has no usable picture.
    """
    path = np.array([(pose.x, pose.z) for pose in poses])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    cutouts = []
    pictures = _pictures(folder)
    for number in range(math.floor((lengths[-1] + LAST_AHEAD_M - FIRST_AHEAD_M) / every) + 1):
        along = FIRST_AHEAD_M + number * every
        index = min(int(np.searchsorted(lengths, along)), len(poses) - 1)
        pose = poses[index]
        beyond = max(0.0, along - float(lengths[-1]))
        at = pose.moved(_LATERAL_M[number % len(_LATERAL_M)], beyond, 0.0, 0.0)
        name, picture, height = pictures[number % len(pictures)]
        if isinstance(picture, Path):
            cutouts.append(load_cutout(picture, name, (at.x, at.z), height, look))
        else:
            cutouts.append(make_cutout(picture, name, (at.x, at.z), height, look))
    return cutouts


def _pictures(folder: Path | None) -> list[tuple[str, Path | np.ndarray, float]]:
    if folder is None:
        return [(name, draw(), height) for name, (draw, height) in SHAPES.items()]
    files = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if not files:
        raise DataError(f"--objects {folder}: expected a folder with PNGs that have alpha, found none")
    return [(file.stem, file, _OBJECT_HEIGHT_M) for file in files]


def _look_through(
    bag: Bag, topic: CameraTopic, mountings: dict[str, Mounting]
) -> tuple[GroundCamera, Motion, list[str], float]:
    """Camera, motion, notes and the mean grey value: all that must be known before the first object is placed."""
    track = read_track(bag)
    times: list[int] = []
    grey: list[np.ndarray] = []
    first: Frame | None = None
    brightness: list[float] = []
    for loaded in load_frames(bag, (topic,)):
        if not isinstance(loaded.content, Frame):
            continue
        image = loaded.content.image
        first = first or loaded.content
        if image.shape != first.image.shape:
            raise DataError(
                f"bag {bag.path}: images on {topic.topic} are {first.image.shape[1]}x{first.image.shape[0]} and "
                f"{image.shape[1]}x{image.shape[0]}; objects need one size: cut the bag where it changes"
            )
        times.append(loaded.recorded.recorded_ns)
        brightness.append(float(image[image.shape[0] // 2 :].mean()))
        if track is None:
            grey.append(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    if first is None:
        raise DataError(f"bag {bag.path}: no image on {topic.topic} can be decoded")
    height, width = first.image.shape[:2]
    notes: list[str] = []
    intrinsics = read_intrinsics(bag, topic, (width, height))
    mounting = find_mounting(bag, topic, first.frame_id, mountings)
    if mounting is None:
        mounting = _ASSUMED
        notes.append(f"no mounting of {quoted(first.frame_id)} in the bag: {mounting.height} m above the road assumed")
    if isinstance(intrinsics, str):
        focal, center = 0.9 * width, (width / 2 - 0.5, height / 2 - 0.5)
        notes.append(f"{intrinsics}: a focal length of {focal:.0f} pixels assumed")
    else:
        focal = float(intrinsics.matrix[0, 0])
        center = (float(intrinsics.matrix[0, 2]), float(intrinsics.matrix[1, 2]))
        if intrinsics.distortion.size:
            notes.append("the lens's distortion is not applied to the objects")
    camera = GroundCamera(width, height, focal, center, mounting.height, mounting.pitch)
    motion = from_texture(grey, camera) if track is None else from_track(track, times, mounting)
    return camera, motion, notes, float(np.mean(brightness))


def _write(
    bag: Bag,
    topic: CameraTopic,
    writer: Writer,
    truth: Path,
    cutouts: list[Cutout],
    camera: GroundCamera,
    poses: Sequence[Pose],
    look: Look,
) -> tuple[int, int, list[str]]:
    """Copy the bag, its camera composed; how many images got ground truth, how many were only copied, and notes."""
    copies = {connection.id: _copy(writer, connection) for connection in bag.connections}
    labels, ids = (
        writer.add_connection(TRUTH_TOPIC.format(camera=topic.camera, name=name), IMAGE, typestore=TYPESTORE)
        for name in TRUTH_NAMES
    )
    frames = load_frames(bag, (topic,))
    bonnet = np.zeros((camera.height, camera.width), bool)
    images = skipped = restamped = 0
    stamps: set[int] = set()
    total = sum(connection.msgcount for connection in bag.connections)
    for connection, recorded, data in ProgressBar(bag.messages(bag.connections), total=total, unit="message"):
        if connection.topic != topic.topic or connection.msgtype not in topic.types:
            writer.write(copies[connection.id], recorded, data)
            continue
        loaded = next(frames)
        if not isinstance(loaded.content, Frame):
            writer.write(copies[connection.id], recorded, data)
            skipped += 1
            continue
        image, mask, owner, _ = compose_layers(
            loaded.content.image, cutouts, camera, poses[images], look, bonnet, images
        )
        header, changed = _changed(loaded, image)
        writer.write(copies[connection.id], recorded, TYPESTORE.serialize_cdr(changed, connection.msgtype))
        for target, values, encoding in ((labels, mask, "mono8"), (ids, owner, "16UC1")):
            message = raw_image(header, values, encoding)
            writer.write(target, recorded, TYPESTORE.serialize_cdr(message, IMAGE))
        write_png(truth / f"{loaded.content.stamp_ns}.png", mask)
        images += 1
        restamped += loaded.recorded.restamped
        stamps.add(loaded.content.stamp_ns)
    notes = []
    if restamped:
        notes.append(f"{restamped} stamps were zero; the composed images have the time of recording")
    if images > len(stamps):
        notes.append(
            f"{images - len(stamps)} stamps occur more than once: the folder of truth holds the last mask "
            "of each, the topics all"
        )
    return images, skipped, notes


def _changed(loaded: Loaded, image: np.ndarray) -> tuple[Any, Any]:
    """The header of an image message, and the message with other pixels in the encoding it had, where that can be."""
    message = decode(loaded.recorded.data, loaded.recorded.msgtype)
    if loaded.recorded.msgtype == COMPRESSED:
        return message.header, encoded(message.header, image, "png" in message.format.lower())
    encoding = message.encoding if message.encoding in _RAW_AS_IS else "rgb8"
    try:
        return message.header, raw_image(message.header, convert(image, "rgb8", encoding), encoding)
    except ImageError as error:
        raise DataError(f"image of encoding {quoted(message.encoding)}: {error}") from error


def _copy(writer: Writer, connection: Connection) -> Connection:
    """The connection of a topic in the new bag, with type, hash and QoS of the old one."""
    extension: Any = connection.ext
    definition = connection.msgdef.data
    shared: dict[str, Any] = {
        "serialization_format": extension.serialization_format,
        "offered_qos_profiles": extension.offered_qos_profiles,
    }
    if definition and connection.digest:
        return writer.add_connection(
            connection.topic, connection.msgtype, msgdef=definition, rihs01=connection.digest, **shared
        )
    return writer.add_connection(connection.topic, connection.msgtype, typestore=TYPESTORE, **shared)
