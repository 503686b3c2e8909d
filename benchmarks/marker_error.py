"""Error in metres of the places of unknown objects on the shipped clip, whose objects stand where its scene says.

Two figures for every distance: from the true foot in the image (the camera's model and the car's nodding alone), and
from the foot that the model's outline has (what the node publishes). The node's mounting is the clip's camera; its nod
in a frame is not known to the node.

python benchmarks/marker_error.py                                       # the model's thresholds
python benchmarks/marker_error.py --refined 0.85 --extent 0.65
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from sensor_msgs.msg import CameraInfo

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.compose.clip import Clip, load_clip
from m2a_core.compose.composer import Sighting
from m2a_core.geometry.intrinsics import Intrinsics
from m2a_core.geometry.localization import localize
from m2a_core.geometry.projection import GroundProjector, Mounting
from m2a_core.perception import Perception
from m2a_core.runtime.factory import create_runtime
from m2a_core.types import Frame, Output, UnknownInstance
from m2a_ros.process.shared_files import shared_file

BANDS_M = (5.0, 10.0, 20.0, 30.0, 45.0, 60.0)
MIN_IOU = 0.25


@dataclass(frozen=True)
class Error:
    """One object in one frame: true distance, errors of its place and of its distance in metres, and its bounds."""

    distance: float
    place: float
    along: float
    within: bool


def projector_of(clip: Clip) -> GroundProjector:
    """The clip's camera as the node would have it."""
    camera = clip.camera
    matrix = [camera.focal, 0.0, camera.center[0], 0.0, camera.focal, camera.center[1], 0.0, 0.0, 1.0]
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob", k=matrix)
    return GroundProjector(Intrinsics.from_camera_info(info), Mounting(height=camera.above_road, pitch=camera.pitch))


def iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    sides = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    shared = sides[0] * sides[1]
    return shared / (sum(areas) - shared)


def error_of(
    truth: Sighting, instance: UnknownInstance, projector: GroundProjector, pixel_error: float
) -> Error | None:
    """How far from the truth an instance is placed; None where it has no place."""
    (placed,) = localize([instance], projector, BANDS_M[-1], pixel_error)
    if placed is None:
        return None
    true_place = np.array([truth.ahead, -truth.right])
    distance = float(np.linalg.norm(true_place))
    return Error(
        distance,
        float(np.linalg.norm(placed.position[:2] - true_place)),
        placed.distance - distance,
        placed.bounds[0] <= distance <= placed.bounds[1],
    )


def at_true_foot(truth: Sighting) -> UnknownInstance:
    """An instance whose contact point is right."""
    x0, y0, x1, y1 = truth.bbox
    contour = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.int32)
    return UnknownInstance(1, 1.0, truth.pixels, truth.bbox, contour, truth.foot)


def table(title: str, errors: list[Error]) -> str:
    """Median and 95th percentile by distance."""
    lines = [title, "  distance m    n  place median  p95   distance median (signed)  p95 of abs  within bounds"]
    by_band: dict[tuple[float, float], list[Error]] = defaultdict(list)
    for error in errors:
        band = next((b for b in pairwise(BANDS_M) if b[0] <= error.distance < b[1]), None)
        if band:
            by_band[band].append(error)
    for band, found in sorted(by_band.items()):
        places, along = np.array([e.place for e in found]), np.array([e.along for e in found])
        figures = (
            f"{len(found):4d}",
            f"{np.median(places):9.2f}",
            f"{np.quantile(places, 0.95):7.2f}",
            f"{np.median(along):+14.2f}",
            f"{np.quantile(np.abs(along), 0.95):16.2f}",
            f"{np.mean([e.within for e in found]):9.0%}",
        )
        lines.append(f"  {band[0]:4.0f}..{band[1]:3.0f}   " + "  ".join(figures))
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--refined", type=float, help="seed of unknown instances (default: the model's)")
    parser.add_argument("--extent", type=float, help="how far instances grow (default: the model's)")
    parser.add_argument("--frames", type=int, help="only the first N")
    args = parser.parse_args()
    clip = load_clip(shared_file("config/demo/clip.yaml").parent)
    bundle = load_bundle(args.model)
    given_limits = {name: getattr(args, name) for name in ("refined", "extent") if getattr(args, name) is not None}
    manifest = replace(bundle.manifest, thresholds=replace(bundle.manifest.thresholds, **given_limits))
    perception = Perception(manifest, create_runtime(bundle))
    projector = projector_of(clip)
    rows, columns = perception.manifest.input_size
    pixel_error = 0.5 + 0.5 * max(clip.camera.width / columns, clip.camera.height / rows)
    geometry, seen, missed = [], [], 0
    for number in range(min(len(clip), args.frames or len(clip))):
        result = perception.infer(Frame(clip.image(number)), frozenset({Output.UNKNOWN_INSTANCES}))
        for truth in clip.sightings[number]:
            geometry.append(error_of(truth, at_true_foot(truth), projector, 0.5))
            best = max(result.instances, key=lambda i, t=truth: iou(i.bbox, t.bbox), default=None)  # type: ignore[misc]
            if best is None or iou(best.bbox, truth.bbox) < MIN_IOU:
                missed += 1
            else:
                seen.append(error_of(truth, best, projector, pixel_error))
    print(table("true foot in the image", [e for e in geometry if e]))
    print(table(f"{perception.manifest.name}: foot of the outline (IoU of boxes >= {MIN_IOU})", [e for e in seen if e]))
    print(f"sightings without an instance: {missed}; instances without a place: {sum(e is None for e in seen)}")


if __name__ == "__main__":
    main()
