"""A composed clip as a bag with ground truth: images, ``camera_info``, and a mask per stamp."""

from __future__ import annotations

import os
import shutil
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from m2a_core.compose.clip import load_clip
from m2a_core.compose.ground import GroundCamera
from m2a_core.errors import ConfigError
from m2a_ros.conversions import fill_image, fill_jpeg
from m2a_ros.replay.reader import CAMERA_INFO, COMPRESSED, IMAGE, TYPESTORE

FRAME_ID = "front_camera_optical"
IMAGE_TOPIC = "/camera/front/image_raw"
INFO_TOPIC = "/camera/front/camera_info"
FIRST_STAMP_NS = 1_700_000_000_000_000_000
_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


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
    for name in ("bag", "truth"):
        if (out / name).exists():
            raise ConfigError(f"--out {out}: there is a {name} already; give another --out or delete it")
    unfinished = out / ".partial"
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "truth").mkdir(parents=True)
    with Writer(unfinished / "bag", version=9, storage_plugin=_STORAGE[storage]) as writer:
        compressed = transport == "compressed"
        kind = COMPRESSED if compressed else IMAGE
        images = writer.add_connection(IMAGE_TOPIC + "/compressed" * compressed, kind, typestore=TYPESTORE)
        infos = writer.add_connection(INFO_TOPIC, CAMERA_INFO, typestore=TYPESTORE)
        for i in range(count):
            stamp = FIRST_STAMP_NS + round(i * 1e9 / clip.frame_rate)
            header = _header(stamp)
            info, image = _info(clip.camera, header), _image(clip.image(i), header, kind)
            writer.write(infos, stamp, TYPESTORE.serialize_cdr(info, CAMERA_INFO))
            writer.write(images, stamp, TYPESTORE.serialize_cdr(image, kind))
            done, png = cv2.imencode(".png", clip.truth(i))
            assert done
            (unfinished / "truth" / f"{stamp}.png").write_bytes(png.tobytes())
    for name in ("truth", "bag"):
        os.replace(unfinished / name, out / name)
    unfinished.rmdir()
    return count


def _header(stamp_ns: int) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPESTORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=FRAME_ID)


def _image(rgb: np.ndarray, header: Any, kind: str) -> Any:
    filled = SimpleNamespace(data=array("B"))
    if kind == COMPRESSED:
        fill_jpeg(filled, rgb)
    else:
        fill_image(filled, rgb, "rgb8")
    return TYPESTORE.types[kind](header=header, **{**vars(filled), "data": np.frombuffer(filled.data, np.uint8)})


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
