"""Bags of ``benchmarks/closing_loop.py``: in each scene a backpack stands and a cycle lane is painted on the road."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from m2a_core.compose.__main__ import read_video
from m2a_core.compose.composer import compose_layers
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Look, load_cutout
from m2a_core.images import read_image
from m2a_ros.bag.make import FIRST_STAMP_NS, FRAME_ID, encoded
from m2a_ros.bag.reader import COMPRESSED, TYPESTORE

KINDS = {"backpack": "outlier", "cycle lane": "false_alarm"}
TOPIC = "/camera/front/image_raw/compressed"
_STEP_NS = 100_000_000
_METRES = 0.4
"""The car's way between two frames."""
_GAP_STEPS = 40
"""Longer than tracks live: the next picture is another place."""
_SCENE_FRAMES = 6
"""Frames of a video with the same objects."""


def write_drive(out: Path, files: Sequence[Path], backpacks: Sequence[Path], hold: int, seed: int) -> None:
    """Write ``out/NAME``, a bag, and its truth.

    ``truth/STAMP.png`` is 1 on backpacks, ``instances/STAMP.png`` numbers them, ``marks/STAMP.png`` numbers the cycle
    lanes.

    Args:
        out: the folder; the bag has its name.
        files: pictures, each held for ``hold`` frames, or a video.
        backpacks: RGBA files.
        hold: frames of a picture.
        seed: of places and sizes.
    """
    for folder in ("truth", "instances", "marks"):
        (out / folder).mkdir(parents=True)
    rng = np.random.default_rng(seed)
    stamp = FIRST_STAMP_NS
    with Writer(out / out.name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, COMPRESSED, typestore=TYPESTORE)
        for number, images in enumerate(_scenes(files, hold), start=1):
            height, width = images[0].shape[:2]
            camera = GroundCamera(width, height, 0.9 * width, (width / 2, height / 2), 1.4, 0.02)
            look = Look(
                0.85, float(images[0][height // 2 :].mean()), 1.0, max(0.5, width / 1600), 1.5, 0.55, (0.5, 0.3)
            )
            side = float(rng.choice([-1, 1]))
            place = (side * float(rng.uniform(0.6, 1.8)), float(rng.uniform(7, 13)))
            file = backpacks[int(rng.integers(len(backpacks)))]
            thing = load_cutout(
                file, "backpack", place, float(rng.uniform(0.7, 1.1)), look, float(rng.uniform(0.8, 1.25))
            )
            lane = (-side * float(rng.uniform(0.3, 1.5)), float(rng.uniform(5.5, 9)), float(rng.uniform(1.2, 1.8)))
            for step, image in enumerate(images):
                pose = Pose().moved(0.0, _METRES * step, 0.0, 0.0)
                painted, mark = _paint(image, camera, pose, lane)
                picture, truth, owner, _ = compose_layers(
                    painted, [thing], camera, pose, look, np.zeros((height, width), bool), int(rng.integers(1 << 31))
                )
                cv2.imwrite(str(out / "truth" / f"{stamp}.png"), truth)
                cv2.imwrite(str(out / "instances" / f"{stamp}.png"), np.where(owner > 0, number, 0).astype(np.uint16))
                cv2.imwrite(
                    str(out / "marks" / f"{stamp}.png"), np.where(mark & (truth == 0), number, 0).astype(np.uint16)
                )
                writer.write(topic, stamp, TYPESTORE.serialize_cdr(encoded(_header(stamp), picture), COMPRESSED))
                stamp += _STEP_NS
            stamp += _GAP_STEPS * _STEP_NS


def _scenes(files: Sequence[Path], hold: int) -> list[list[np.ndarray]]:
    scenes: list[list[np.ndarray]] = []
    for path in files:
        if path.suffix == ".mp4":
            images = list(read_video(path)[0])
            scenes += [images[i : i + _SCENE_FRAMES] for i in range(0, len(images), _SCENE_FRAMES)]
        else:
            scenes.append([read_image(path)] * hold)
    return scenes


def _sign(size: int = 128) -> np.ndarray:
    """A green cycle lane with a white bicycle, uint8 [size, size, 3], RGB."""
    sign = np.full((size, size, 3), (40, 150, 80), np.uint8)
    white = (250, 250, 250)
    for x in (35, 93):
        cv2.circle(sign, (x, 70), 22, white, 5)
    for a, b in (((35, 70), (70, 35)), ((70, 35), (93, 70)), ((35, 70), (62, 72)), ((62, 72), (80, 40))):
        cv2.line(sign, a, b, white, 5)
    return sign


def _paint(
    image: np.ndarray, camera: GroundCamera, pose: Pose, lane: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Paint a cycle lane on the road; ``lane``: right, ahead and width in metres. Gives the picture and its pixels."""
    right, ahead, width = lane
    half = width / 2
    corners = np.array(
        [
            (right - half, ahead + 2 * width),
            (right + half, ahead + 2 * width),
            (right + half, ahead),
            (right - half, ahead),
        ]
    )
    ground = pose.to_camera(corners)
    points = camera.project(np.stack([ground[:, 0], np.zeros(4), ground[:, 1]], axis=1), pose.pitch)[:, :2]
    sign = _sign()
    n = sign.shape[0]
    warp = cv2.getPerspectiveTransform(
        np.array([(0, 0), (n, 0), (n, n), (0, n)], np.float32), points.astype(np.float32)
    )
    size = image.shape[1::-1]
    laid = cv2.warpPerspective(sign, warp, size, flags=cv2.INTER_AREA)
    alpha = cv2.warpPerspective(np.full((n, n), 0.85, np.float32), warp, size, flags=cv2.INTER_LINEAR)
    # The road's light and shade stay: paint has the brightness of what it covers.
    shade = cv2.GaussianBlur(image.astype(np.float32).mean(axis=2), (0, 0), 4)
    shade = np.clip(shade / max(1.0, float(shade[alpha > 0.4].mean() if (alpha > 0.4).any() else 1)), 0.5, 1.5)
    painted = image + alpha[..., None] * (laid * shade[..., None] - image)
    return np.clip(painted, 0, 255).astype(np.uint8), alpha > 0.4


def _header(stamp_ns: int) -> object:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPESTORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=FRAME_ID)
