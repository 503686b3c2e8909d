r"""Makes the bags of ``benchmarks/harvest_purity.py``: drives in which objects of several kinds stand on the road.

A drive is a video, or a folder of pictures; each picture is held for some frames while the objects come nearer. They
stand where the ground is free, as things on a road do: foot and at least 80 % of the pixels on road or pavement, at the
scale of a flat ground; one that finds no such place is left out. Every bag has JPEG images and the calibration; beside
it, ``truth/STAMP.png`` numbers the objects (16 bits, 0 none) and ``kinds.json`` says what kind each is.

python -m benchmarks.harvest_bags --out DIR --kind chair=outliers/fluent3d__chair.png --kind ... \
    --drive camvid_a=camvid/images/0001TP_00669*.png --drive motorway=video/highway_38frames.mp4
"""

from __future__ import annotations

import argparse
import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from benchmarks.cycle_lane import draw_lane, paint_lane
from benchmarks.free_ground import free_ground, stands_free
from m2a_core.compose.__main__ import read_video
from m2a_core.compose.composer import compose_layers
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Cutout, Look, load_cutout
from m2a_core.images import read_image
from m2a_ros.bag.make import FIRST_STAMP_NS, FRAME_ID
from m2a_ros.bag.messages import encoded
from m2a_ros.bag.reader import COMPRESSED, TYPESTORE

CYCLE_LANE = "cycle lane"
TOPIC = "/camera/front/image_raw/compressed"
STEP_NS = 100_000_000
METRES = 0.5
"""The car's way between two frames."""
_TRIES = 60
"""Places that are drawn for an object, half of them on the other side of the middle."""
_JUDGED = 25.0
"""Metres: farther away, an object is too small for what is behind it to be judged."""


@dataclass(frozen=True)
class Scene:
    """A stretch of frames with the same objects.

    Attributes:
        images: uint8 [H, W, 3], RGB.
        camera: the camera.
        free: bool [H, W] for each image: where the ground is free.
    """

    images: Sequence[np.ndarray]
    camera: GroundCamera
    free: Sequence[np.ndarray]


def scenes_of(paths: Sequence[Path], hold: int) -> Iterator[Scene]:
    """Stretches of a drive: a video is one, a picture is one of ``hold`` frames."""
    for path in paths:
        images = read_video(path)[0] if path.suffix == ".mp4" else [read_image(path)] * hold
        height, width = images[0].shape[:2]
        # CamVid's horizon lies a little above the middle; the motorway clip's camera is that of config/demo/scene.yaml.
        above_road, pitch = (1.17, -0.054) if path.suffix == ".mp4" else (1.4, 0.02)
        camera = GroundCamera(width, height, 0.9 * width, (width / 2, height / 2), above_road, pitch)
        yield Scene(images, camera, free_ground(path, images))


def write_drive(
    out: Path,
    scenes: Iterable[Scene],
    kinds: Mapping[str, Sequence[Path]],
    rng: np.random.Generator,
    objects: int,
    lanes: bool = False,
) -> int:
    """Write ``out/NAME``, ``out/truth`` and ``out/kinds.json``; returns how many objects stand in it.

    Args:
        out: the folder; the bag has its name.
        scenes: what the car passes.
        kinds: kind -> RGBA files.
        rng: of places and sizes.
        objects: in a scene of eight metres.
        lanes: also paint a cycle lane (``CYCLE_LANE``) on each scene's road, numbered like an object.
    """
    (out / "truth").mkdir(parents=True)
    names: dict[int, str] = {}
    stamp = FIRST_STAMP_NS
    with Writer(out / out.name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, COMPRESSED, typestore=TYPESTORE)
        for scene in scenes:
            first = len(names) + 1
            cutouts = _stand(scene, kinds, rng, objects)
            names.update({first + number: cutout.name for number, cutout in enumerate(cutouts)})
            lane = draw_lane(rng) if lanes else None
            if lane is not None:
                names[len(names) + 1] = CYCLE_LANE
            nothing = np.zeros(scene.images[0].shape[:2], bool)
            for number, image in enumerate(scene.images):
                pose = _pose(number)
                ids = np.zeros(nothing.shape, np.uint16)
                if lane is not None:
                    image, mark = paint_lane(image, scene.camera, pose, lane)
                    ids[mark] = len(names)
                picture, _, owner, _ = compose_layers(
                    image, cutouts, scene.camera, pose, _look(scene), nothing, int(rng.integers(1 << 31))
                )
                ids[owner > 0] = owner[owner > 0] + (first - 1)
                cv2.imwrite(str(out / "truth" / f"{stamp}.png"), ids)
                writer.write(topic, stamp, TYPESTORE.serialize_cdr(encoded(_header(stamp), picture), COMPRESSED))
                stamp += STEP_NS
            # Longer than tracks live: the next picture is another place.
            stamp += 40 * STEP_NS
    (out / "kinds.json").write_text(json.dumps(names), encoding="utf-8")
    return len(names)


def _stand(scene: Scene, kinds: Mapping[str, Sequence[Path]], rng: np.random.Generator, objects: int) -> list[Cutout]:
    """Objects on the road ahead, one after the other, left and right of the middle; a long scene has more of them."""
    way = METRES * len(scene.images)
    count = max(objects, round(objects * way / 8))
    order = list(kinds)
    cutouts = []
    for number in range(count):
        kind = order[int(rng.integers(len(order)))]
        pictures = kinds[kind]
        picture = pictures[int(rng.integers(len(pictures)))]
        height, brightness = float(rng.uniform(0.8, 1.2)), float(rng.uniform(0.8, 1.25))
        cutout = load_cutout(picture, kind, (0.0, 0.0), height, _look(scene), brightness)
        for half in [number] * (_TRIES // 2) + [number + 1] * (_TRIES // 2):
            ahead = 9 + (way + 8) * (number + float(rng.uniform(0, 0.6))) / count
            placed = replace(cutout, position=(float(rng.uniform(0.5, 2.6)) * (-1) ** half, ahead))
            if _is_free(scene, placed):
                cutouts.append(placed)
                break
    return cutouts


def _is_free(scene: Scene, cutout: Cutout) -> bool:
    """Whether an object stands free wherever it is near: every fourth frame, and the last, are looked at."""
    last = len(scene.images) - 1
    near = [n for n in {*range(0, last, 4), last} if cutout.position[1] - METRES * n <= _JUDGED]
    return all(stands_free(cutout, scene.camera, _pose(n), _look(scene), scene.free[n]) for n in near)


def _pose(number: int) -> Pose:
    return Pose().moved(0.0, METRES * number, 0.0, 0.0)


def _look(scene: Scene) -> Look:
    image = scene.images[0]
    return Look(
        0.85, float(image[image.shape[0] // 2 :].mean()), 1.0, max(0.5, image.shape[1] / 1600), 1.5, 0.55, (0.5, 0.3)
    )


def _header(stamp_ns: int) -> object:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return TYPESTORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=FRAME_ID)


def _files(arguments: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for argument in arguments:
        name, _, patterns = argument.partition("=")
        for pattern in patterns.split(","):
            found.setdefault(name, []).extend(Path(path) for path in sorted(glob.glob(pattern)))
        if not found[name]:
            raise SystemExit(f"{argument}: no such files")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", action="append", required=True, metavar="NAME=PNG,...")
    parser.add_argument("--drive", action="append", required=True, metavar="NAME=FILES")
    parser.add_argument("--hold", type=int, default=7, help="frames a picture is held (default: %(default)d)")
    parser.add_argument("--pictures", type=int, default=8, help="pictures of a drive (default: %(default)d)")
    parser.add_argument("--objects", type=int, default=3, help="objects in a scene (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kinds = _files(args.kind)
    for number, (name, files) in enumerate(_files(args.drive).items()):
        chosen = files[:: max(1, len(files) // args.pictures)][: args.pictures]
        rng = np.random.default_rng([args.seed, number])
        count = write_drive(args.out / name, scenes_of(chosen, args.hold), kinds, rng, args.objects)
        print(f"{name}: {count} objects")


if __name__ == "__main__":
    main()
