"""Validation sets that each show one way to fail, in the layout of `m2a evaluate --dataset folder`.

On held-apart Cityscapes frames, brought to 2048x1024, with cut-outs of kinds that no training sees:

  small      three objects of 0.15 to 1 m on the road, 5 to 80 m away, at true scale: the road is taken for a plane
             under a camera 1.22 m above it, with Cityscapes' focal length and pitch
  large      one object that fills about a fifth of the frame
  vehicles   one thing that looks like a vehicle and is none of the classes, 1.5 to 4 m long, 6 to 30 m away
  hard/KIND  known things that are often taken for unknown: shadows, painted arrows, manholes, wet road and watermarks,
             drawn; kerbs and the own bonnet, as they are. Only their pixels count, all of them known.

python benchmarks/road_sets.py --data-root DATA --out out/road
python benchmarks/real_obstacles.py --data-root DATA --out out/road/idd
python benchmarks/road_validation.py --sets out/road --model m2a-edge --json out/road.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.training.config import BlendConfig, load_config
from m2a_core.training.datasets import Cutout, LabelledImage
from m2a_core.training.outliers import erode_alpha
from m2a_core.training.pasting import paste
from m2a_core.training.road_mix import held_frames
from m2a_core.training.sources import open_outliers
from m2a_core.training.targets import IGNORE, OWN_CAR

WIDTH, HEIGHT = 2048, 1024
FOCAL, ABOVE_ROAD, HORIZON = 2262.0, 1.22, 427.0
"""Cityscapes' camera at 2048x1024: pixels, metres, row of the horizon (its calibration files; pitch 0.038 rad)."""
BLEND = BlendConfig(
    match=(0.3, 0.6), blur=(1.0, 1.6), edge=(0.6, 1.2), noise=(0.5, 2.5), shadow=0.7, texture_swap=0.0, on_road=1.0
)
VEHICLE_LIKE = (
    "coco_boat",
    "coco_refrigerator",
    "coco_elephant",
    "emoji3d/canoe",
    "emoji3d/rocket",
    "emoji3d/shopping_trolley",
)
SEED = 7
LARGE_SHARE = 0.2

Scene = tuple[np.ndarray, np.ndarray]
"""Image uint8 [H, W, 3], RGB, and class ids uint8 [H, W]."""


def scene_of(frame: LabelledImage) -> Scene:
    """A frame at 2048x1024."""
    image = cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return image, cv2.resize(frame.label, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)


def foot_at(label: np.ndarray, metres: float, rng: np.random.Generator) -> tuple[int, int] | None:
    """A road pixel at a distance, or None."""
    row = round(HORIZON + FOCAL * ABOVE_ROAD / metres)
    columns = np.flatnonzero(label[row] == CITYSCAPES19.road) if row < HEIGHT else []
    return (int(rng.choice(columns)), row) if len(columns) else None


def with_objects(
    scene: Scene,
    objects: Sequence[Cutout],
    count: int,
    metres: tuple[float, float],
    away: tuple[float, float],
    rng: np.random.Generator,
) -> Scene:
    """Objects at true scale: the image, and a mask of 0 known, 1 anomaly, 255 void."""
    image, label = scene[0].copy(), scene[1].copy()
    outlier = np.zeros(label.shape, bool)
    placed = 0
    for _ in range(200):
        distance = float(np.exp(rng.uniform(*np.log(away))))
        foot = foot_at(scene[1], distance, rng)
        if foot is None:
            continue
        size = FOCAL / distance * float(np.exp(rng.uniform(*np.log(metres))))
        _paste(image, label, outlier, objects, foot, size, rng)
        placed += 1
        if placed == count:
            break
    return image, _mask(label, outlier)


def with_large_object(scene: Scene, objects: Sequence[Cutout], rng: np.random.Generator) -> Scene:
    """One object of about a fifth of the frame; result as `with_objects`."""
    image, label = scene[0].copy(), scene[1].copy()
    outlier = np.zeros(label.shape, bool)
    foot = (int(rng.uniform(0.3, 0.7) * WIDTH), int(rng.uniform(0.85, 1.0) * HEIGHT))
    chosen = objects[int(rng.integers(len(objects)))]
    fill = (chosen.rgba[..., 3] > 127).sum() / max(chosen.rgba.shape[:2]) ** 2
    size = np.sqrt(LARGE_SHARE * WIDTH * HEIGHT / max(fill, 0.05))
    _paste(image, label, outlier, [chosen], foot, float(min(size, 1.2 * HEIGHT)), rng)
    return image, _mask(label, outlier)


def _paste(
    image: np.ndarray,
    label: np.ndarray,
    outlier: np.ndarray,
    objects: Sequence[Cutout],
    foot: tuple[int, int],
    size: float,
    rng: np.random.Generator,
) -> None:
    rgba = erode_alpha(objects[int(rng.integers(len(objects)))].rgba)
    if rng.random() < 0.5:
        rgba = np.ascontiguousarray(rgba[:, ::-1])
    paste(image, label, outlier, rgba, foot, size, None, BLEND, rng)


def _mask(label: np.ndarray, outlier: np.ndarray) -> np.ndarray:
    return np.where(outlier, 1, np.where(label == IGNORE, 255, 0)).astype(np.uint8)


def shadows(scene: Scene, rng: np.random.Generator) -> Scene:
    """Dappled shadow of a tree across the road."""
    image, label = scene
    blobs = cv2.resize(rng.random((18, 36)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    band = np.abs(np.arange(HEIGHT)[:, None] - rng.uniform(0.55, 0.9) * HEIGHT) < rng.uniform(60, 160)
    drawn = (blobs > 0.45) & band & (label == CITYSCAPES19.road)
    soft = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 4)[..., None] * rng.uniform(0.4, 0.65)
    return (image * (1 - soft)).astype(np.uint8), drawn


def paint(scene: Scene, rng: np.random.Generator) -> Scene:
    """An arrow and a bar painted on the road, flat in perspective."""
    image, label = scene
    cover = np.zeros(label.shape, np.uint8)
    x, near = rng.uniform(-2.0, 2.0), rng.uniform(7, 16)
    arrow = [(-0.1, 0), (0.1, 0), (0.1, 2), (0.35, 2), (0, 3.5), (-0.35, 2), (-0.1, 2)]
    bar = [(-1.2, 4.5), (1.2, 4.5), (1.2, 5.0), (-1.2, 5.0)]
    for shape in (arrow, bar):
        cv2.fillPoly(cover, [_on_ground([(x + u, near + v) for u, v in shape])], 255)
    return _drawn(image, cover, label, np.full(3, rng.uniform(190, 245)), 0.9)


def manholes(scene: Scene, rng: np.random.Generator) -> Scene:
    """Two round lids of 0.6 m, darker than the road, with a pattern."""
    image, label = scene
    cover = np.zeros(label.shape, np.uint8)
    angles = np.linspace(0, 2 * np.pi, 40)
    for _ in range(2):
        x, z = rng.uniform(-3, 3), rng.uniform(6, 20)
        lid = list(zip(x + 0.32 * np.cos(angles), z + 0.32 * np.sin(angles), strict=True))
        cv2.fillPoly(cover, [_on_ground(lid)], 255)
    texture = 60 + 50 * ((np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) // 5) % 2)
    return _drawn(image, cover, label, texture[..., None].astype(np.float64), 0.8)


def wet_road(scene: Scene, rng: np.random.Generator) -> Scene:
    """Puddles that mirror what stands above the road."""
    image, label = scene
    blobs = cv2.resize(rng.random((10, 14)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    cover = ((blobs > 0.6) & (np.arange(HEIGHT)[:, None] > HORIZON + 60)).astype(np.uint8) * 255
    mirror = cv2.GaussianBlur(image[np.clip(2 * int(HORIZON) - np.arange(HEIGHT), 0, HEIGHT - 1)], (0, 0), 3)
    return _drawn(image, cover, label, mirror.astype(np.float64), float(rng.uniform(0.4, 0.7)))


def watermarks(scene: Scene, rng: np.random.Generator) -> Scene:
    """A recorder's date and name over the picture."""
    image, label = scene
    cover = np.zeros(label.shape, np.uint8)
    for text, row in (("2026-11-29 07:41:12  52 km/h", HEIGHT - 40), ("DASHCAM FRONT", 60)):
        cv2.putText(cover, text, (int(rng.uniform(20, 700)), row), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 255, 4, cv2.LINE_AA)
    return _drawn(image, cover, None, np.full(3, 250.0), 0.95)


def kerbs(scene: Scene, _rng: np.random.Generator) -> Scene:
    """Where road and sidewalk meet, as it is."""
    image, label = scene
    road, side = (cv2.dilate((label == i).astype(np.uint8), np.ones((9, 9), np.uint8)) for i in (0, 1))
    return image, (road & side).astype(bool) & (label < CITYSCAPES19.num_classes)


def bonnet(scene: Scene, _rng: np.random.Generator) -> Scene:
    """The own car, as it is."""
    return scene[0], scene[1] == OWN_CAR


HARD: dict[str, Callable[[Scene, np.random.Generator], Scene]] = {
    "shadows": shadows,
    "paint": paint,
    "manholes": manholes,
    "wet_road": wet_road,
    "watermarks": watermarks,
    "kerbs": kerbs,
    "bonnet": bonnet,
}


def _on_ground(points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Pixels int32 [N, 2] of points on the road: metres right of the camera and ahead of it."""
    right, ahead = np.array(points).T
    return np.rint(np.stack([WIDTH / 2 + FOCAL * right / ahead, HORIZON + FOCAL * ABOVE_ROAD / ahead], 1)).astype(
        np.int32
    )


def _drawn(image: np.ndarray, cover: np.ndarray, label: np.ndarray | None, color: np.ndarray, strength: float) -> Scene:
    """Colour the covered pixels, of the road alone where there are labels; which pixels those are: bool [H, W]."""
    alpha = cv2.GaussianBlur(cover, (0, 0), 1.2).astype(np.float64)[..., None] / 255 * strength
    if label is not None:
        alpha = alpha * (label == CITYSCAPES19.road)[..., None]
    return (image + alpha * (color - image)).astype(np.uint8), alpha[..., 0] > 0.5 * strength


def write(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    """Write one frame of a set."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)


def main() -> None:
    """Write the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="default: %(default)s")
    parser.add_argument("--config", type=Path, default=Path("config/training/m2a-edge.yaml"), help="the recipe")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60, help="evenly spread (default: %(default)s)")
    args = parser.parse_args()
    config = load_config(args.config)
    _, unseen = open_outliers(config.data, args.data_root, args.config.parent)
    vehicles = [c for c in unseen if c.kind in VEHICLE_LIKE]
    sources = held_frames(args.data_root)
    for i in tqdm(np.unique(np.linspace(0, len(sources) - 1, args.frames).round().astype(int))):
        scene, name = scene_of(sources[i].read()), sources[i].name
        rng = np.random.default_rng([SEED, *name.encode()])
        write(args.out / "small", name, *with_objects(scene, unseen, 3, (0.15, 1.0), (5, 80), rng))
        write(args.out / "large", name, *with_large_object(scene, unseen, rng))
        write(args.out / "vehicles", name, *with_objects(scene, vehicles, 1, (1.5, 4.0), (6, 30), rng))
        for kind, draw in HARD.items():
            image, drawn = draw(scene, np.random.default_rng([SEED, *f"{kind} {name}".encode()]))
            if drawn.any():
                write(args.out / "hard" / kind, name, image, np.where(drawn, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
