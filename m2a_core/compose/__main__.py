"""``python -m m2a_core.compose``: make the demo clip from a video, cut-outs and a scene file."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from m2a_core.compose.clip import save_clip
from m2a_core.compose.composer import compose_layers
from m2a_core.compose.egomotion import estimate_motion
from m2a_core.compose.ground import GroundCamera
from m2a_core.compose.paste import Look, load_cutout
from m2a_core.errors import DataError, M2aError
from m2a_core.yaml_file import read_yaml


def read_video(path: Path) -> tuple[list[np.ndarray], float]:
    """Read every frame as uint8 [H, W, 3] RGB, and the frame rate.

    Raises:
        DataError: the file holds no readable video.
    """
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    if not frames:
        raise DataError(f"{path}: expected a video that OpenCV can read, got no frame")
    return frames, float(rate)


def polygon(points: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    """Fill a polygon: uint8 [H, W], 255 inside."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.array(points, np.int32)], 255)
    return mask


def _scene(path: Path) -> dict[str, Any]:
    try:
        scene: dict[str, Any] = read_yaml(path)
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not a description of a scene ({error})") from error
    return scene


def compose(video: Path, cutouts: Path, scene_file: Path, out: Path) -> str:
    """Compose the clip and write it; returns a line that says what was made.

    Raises:
        DataError: an input cannot be used, or the video is not the one the scene was made for.
    """
    scene = _scene(scene_file)
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    if digest != scene["video"]["sha256"]:
        raise DataError(f"{video}: expected SHA-256 {scene['video']['sha256']} ({scene_file}), got {digest}")
    frames, rate = read_video(video)
    height, width = frames[0].shape[:2]
    optics = scene["camera"]
    center = (float(optics["center"][0]), float(optics["center"][1]))
    pitch = float(np.arctan((center[1] - optics["horizon"]) / optics["focal"]))
    camera = GroundCamera(width, height, float(optics["focal"]), center, float(optics["above_road"]), pitch)
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    road = polygon(scene["road_polygon"], (height, width))
    poses, speed = estimate_motion(grey, camera, road, float(scene["speed_guess"]))
    look = Look(**{**scene["look"], "shadow_per_meter": tuple(scene["look"]["shadow_per_meter"])})
    objects = [
        load_cutout(cutouts / o["file"], o["name"], tuple(o["position"]), o["height"], look, o.get("brightness", 1.0))
        for o in scene["objects"]
    ]
    bonnet = polygon(scene["bonnet_polygon"], (height, width)) > 0
    composed = [
        (image, truth, sightings)
        for seed, (frame, pose) in enumerate(zip(frames, poses, strict=True))
        for image, truth, _, sightings in [compose_layers(frame, objects, camera, pose, look, bonnet, seed)]
    ]
    about = {key: scene[key] for key in ("sources", "objects", "look")}
    about["metres_per_frame"] = round(speed, 4)
    save_clip(out, rate, camera, poses, composed, about)
    return f"{out}: {len(frames)} frames, {len(objects)} objects, {speed * rate:.1f} m/s"


def main() -> int:
    """Parse the command line and compose."""
    parser = argparse.ArgumentParser(prog="python -m m2a_core.compose", description=__doc__)
    parser.add_argument("--video", type=Path, required=True, help="the source video named in the scene file")
    parser.add_argument("--cutouts", type=Path, required=True, help="folder of RGBA pictures named in the scene file")
    parser.add_argument("--scene", type=Path, default=Path("config/demo/scene.yaml"), help="camera, objects, look")
    parser.add_argument("--out", type=Path, default=Path("config/demo"), help="folder to write the clip to")
    args = parser.parse_args()
    try:
        print(compose(args.video, args.cutouts, args.scene, args.out))
    except M2aError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
