"""A composed clip as a bag with ground truth: images, ``camera_info``, labels, instance ids, and a mask per stamp."""

from __future__ import annotations

import math
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from m2a_core.compose.clip import Clip, load_clip, ping_pong
from m2a_core.compose.composer import ANOMALY, Sighting
from m2a_core.compose.ground import GroundCamera
from m2a_core.errors import ConfigError
from m2a_core.images import write_png
from m2a_ros.bag.calibration import TF
from m2a_ros.bag.messages import encoded, raw_image, stamped
from m2a_ros.bag.reader import CAMERA_INFO, COMPRESSED, IMAGE, TYPESTORE
from m2a_ros.bag.suitability import TRUTH_NAMES

FRAME_ID = "front_camera_optical"
IMAGE_TOPIC = "/camera/front/image_raw"
INFO_TOPIC = "/camera/front/camera_info"
TRUTH_TOPIC = "/m2a/truth/{camera}/{name}"
CAMERA = "camera_front"
FIRST_STAMP_NS = 1_700_000_000_000_000_000
ROUNDS_WITH_TRUTH = 2
"""Scoring takes longer than playing: a looped bag has masks of so many times forth and back."""

_LABELLED = -1
STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def make_bag(clip_folder: Path, out: Path, storage: str, transport: str, frames: int | None = None) -> int:
    """Write ``out/bag`` and ``out/truth/<stamp in nanoseconds>.png``; both appear when they are whole.

    Args:
        clip_folder: a composed clip.
        out: where to write.
        storage: ``mcap`` or ``sqlite3``.
        transport: ``raw`` (rgb8) or ``compressed`` (JPEG).
        frames: how many frames; None for all.

    Returns:
        The number of frames.

    Raises:
        ConfigError: ``frames`` is beyond the clip, or ``out`` holds a bag.
        DataError: the clip is damaged.
        OSError: it cannot be written.
    """
    clip = load_clip(clip_folder)
    count = len(clip) if frames is None else frames
    if not 1 <= count <= len(clip):
        raise ConfigError(f"--frames {count}: expected 1 to {len(clip)}, the frames of the clip")
    with _whole(out, "truth", "bag") as unfinished:
        _write(clip, unfinished, storage, transport, clip.frame_rate, range(count), _LABELLED)
    return count


def make_looped_bag(clip_folder: Path, out: Path, seconds: float, rate: float) -> int:
    """Write ``out/bag``, the clip forth and back as JPEG, and ``out/truth`` and ``out/instances`` of its beginning.

    Args:
        clip_folder: a composed clip.
        out: where to write.
        seconds: how long it lasts.
        rate: frames per second.

    Returns:
        The number of frames.

    Raises:
        ConfigError: ``out`` holds a bag.
        DataError: the clip is damaged.
        OSError: it cannot be written.
    """
    clip = load_clip(clip_folder)
    indices = [ping_pong(len(clip), step) for step in range(max(1, round(seconds * rate)))]
    with _whole(out, "truth", "instances", "bag") as unfinished:
        _write(clip, unfinished, "mcap", "compressed", rate, indices, ROUNDS_WITH_TRUTH * (2 * len(clip) - 2))
    return len(indices)


@contextmanager
def _whole(out: Path, *names: str) -> Iterator[Path]:
    """A folder for what appears in ``out`` under these names when the block ends well."""
    for name in names:
        if (out / name).exists():
            raise ConfigError(f"--out {out}: {name} exists already; give another --out or delete it")
    unfinished = out / ".partial"
    shutil.rmtree(unfinished, ignore_errors=True)
    for name in names[:-1]:
        (unfinished / name).mkdir(parents=True)
    yield unfinished
    for name in names:
        os.replace(unfinished / name, out / name)
    unfinished.rmdir()


def _write(
    clip: Clip, out: Path, storage: str, transport: str, rate: float, indices: Sequence[int], masks: int
) -> None:
    """Write the clip's frames ``indices``.

    The first ``masks`` of them get masks as files; with ``_LABELLED`` all, and labels and ids on topics.
    """
    kind = COMPRESSED if transport == "compressed" else IMAGE
    labelled = masks == _LABELLED

    @lru_cache(len(clip) if kind == COMPRESSED else 1)
    def picture(index: int) -> Any:
        return _image(clip.image(index), stamped(0, FRAME_ID), kind)

    with Writer(out / "bag", version=9, storage_plugin=STORAGE[storage]) as writer:
        images = writer.add_connection(IMAGE_TOPIC + "/compressed" * (kind == COMPRESSED), kind, typestore=TYPESTORE)
        infos = writer.add_connection(INFO_TOPIC, CAMERA_INFO, typestore=TYPESTORE)
        labels = [
            writer.add_connection(TRUTH_TOPIC.format(camera=CAMERA, name=name), IMAGE, typestore=TYPESTORE)
            for name in TRUTH_NAMES
            if labelled
        ]
        mounting = writer.add_connection("/tf_static", TF, typestore=TYPESTORE)
        writer.write(mounting, FIRST_STAMP_NS, TYPESTORE.serialize_cdr(_mounting(clip.camera), TF))
        for step, index in enumerate(indices):
            stamp = FIRST_STAMP_NS + round(step * 1e9 / rate)
            header = stamped(stamp, FRAME_ID)
            image = replace(picture(index), header=header)
            writer.write(infos, stamp, TYPESTORE.serialize_cdr(_info(clip.camera, header), CAMERA_INFO))
            writer.write(images, stamp, TYPESTORE.serialize_cdr(image, kind))
            if not labelled and step >= masks:
                continue
            truth = clip.truth(index)
            maps = ((truth, "mono8"), (_instances(truth, clip.sightings[index]), "16UC1"))
            for topic, (values, encoding) in zip(labels, maps, strict=False):
                message = raw_image(header, values, encoding)
                writer.write(topic, stamp, TYPESTORE.serialize_cdr(message, IMAGE))
            for folder, (values, _) in zip(("truth",) if labelled else ("truth", "instances"), maps, strict=False):
                write_png(out / folder / f"{stamp}.png", values)


def _image(rgb: np.ndarray, header: Any, kind: str) -> Any:
    return encoded(header, rgb) if kind == COMPRESSED else raw_image(header, rgb, "rgb8")


def _instances(truth: np.ndarray, sightings: Sequence[Sighting]) -> np.ndarray:
    """Ids, uint16 [H, W], of the clip's objects: the nearest one whose box holds the pixel."""
    ids = np.zeros(truth.shape, np.uint16)
    for sighting in sorted(sightings, key=lambda s: -s.ahead):
        x0, y0, x1, y1 = sighting.bbox
        # The name's digest keeps an object's id over the clip, whichever objects are seen beside it.
        ids[y0:y1, x0:x1] = zlib.crc32(sighting.name.encode()) % 65_535 + 1
    return np.where(truth == ANOMALY, ids, 0).astype(np.uint16)


def _mounting(camera: GroundCamera) -> Any:
    """Where the clip's camera sits: above the origin of ``base_link``, pitched."""
    types = TYPESTORE.types
    half = camera.pitch / 2
    # Optical frame in the body's axes, (x, y, z, w) = (-1, 1, -1, 1) / 2, turned about the body's y axis by the pitch.
    c, s = math.cos(half) / 2, math.sin(half) / 2
    rotation = types["geometry_msgs/msg/Quaternion"](x=-c - s, y=c + s, z=-c + s, w=c - s)
    move = types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=camera.above_road)
    transform = types["geometry_msgs/msg/TransformStamped"](
        header=stamped(FIRST_STAMP_NS, "base_link"),
        child_frame_id=FRAME_ID,
        transform=types["geometry_msgs/msg/Transform"](translation=move, rotation=rotation),
    )
    return types[TF](transforms=[transform])


def _info(camera: GroundCamera, header: Any) -> Any:
    """The calibration: a pinhole without distortion, no binning, the whole image."""
    (cx, cy), f = camera.center, camera.focal
    return TYPESTORE.types[CAMERA_INFO](
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([f, 0, cx, 0, f, cy, 0, 0, 1], float),
        r=np.eye(3).ravel(),
        p=np.array([f, 0, cx, 0, 0, f, cy, 0, 0, 0, 1, 0], float),
        binning_x=0,
        binning_y=0,
        roi=TYPESTORE.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )
