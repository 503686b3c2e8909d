"""What tracking over frames is worth: precision, recall and delay of unknown objects on composed clips.

Clips are the shipped one, the video without objects, and the video with six objects at random places, of kinds that
no training stage saw. Counted per object and frame: an object of at least --min-pixels true pixels is found where an
instance covers a quarter of it; an instance is false where less than a quarter of it (void aside) is an object. The
delay is from an object's first such frame to the first in which it is found; objects never found are counted apart.

python benchmarks/temporal.py --video highway.mp4 --cutouts outliers/train
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.compose.__main__ import polygon, read_video
from m2a_core.compose.clip import load_clip
from m2a_core.compose.composer import Sighting, compose_layers
from m2a_core.compose.paste import Look, load_cutout
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.openset.head import OpenSetHead
from m2a_core.perception import Perception
from m2a_core.preprocess import Letterbox
from m2a_core.tracking.tracker import Tracker, TrackerConfig
from m2a_core.tracking.update import update_tracks
from m2a_core.types import Frame, OpenSetResult, Output

DEMO = Path("config/demo")
KINDS = Path("config/training/outlier_validation_kinds.yaml")
COVERED = 0.25
AVERAGED = "scores averaged, half of it new"
VARIANTS: tuple[tuple[str, TrackerConfig | None, float], ...] = (
    ("every frame by itself", None, 1.0),
    (AVERAGED, None, 1.0),
    ("min_hits 2", TrackerConfig(2, 0), 1.0),
    ("min_hits 3", TrackerConfig(3, 0), 1.0),
    ("min_hits 2, low 0.985 of the seed", TrackerConfig(2, 0), 0.985),
    ("min_hits 2, low 0.985 of the seed, min_low_hits 4", TrackerConfig(2, 4), 0.985),
    ("min_hits 2, low 0.97 of the seed, min_low_hits 4", TrackerConfig(2, 4), 0.97),
    ("min_hits 2, low 0.958 of the seed, min_low_hits 4", TrackerConfig(2, 4), 0.958),
    ("min_hits 2, low 0.958 of the seed, min_low_hits 6", TrackerConfig(2, 6), 0.958),
    ("min_hits 2, low 0.97 of the seed, min_low_hits 6", TrackerConfig(2, 6), 0.97),
)
"""Name, tracking (None: every frame by itself), ``temporal.low_threshold`` as a share of the seed."""


@dataclass(frozen=True)
class Seen:
    """One frame: the image, the network's output, the truth (0 known, 1 anomaly, 255 void) and the objects."""

    image: np.ndarray
    network: NetworkOutput
    truth: np.ndarray
    objects: tuple[Sighting, ...]


@dataclass
class Score:
    """Counts over all clips."""

    found: int = 0
    missed: int = 0
    false: int = 0
    never: int = 0
    delays: tuple[int, ...] = ()

    def __str__(self) -> str:
        """One line."""
        precision = self.found / max(1, self.found + self.false)
        recall = self.found / max(1, self.found + self.missed)
        delays = np.array(self.delays or (0,))
        return (
            f"precision {precision:.3f}  recall {recall:.3f}  false {self.false:3d}  never found {self.never}  "
            f"delay mean {delays.mean():.1f}, median {np.median(delays):.0f}, longest {delays.max()} frames"
        )


def clips(args: argparse.Namespace) -> Iterator[list[tuple[np.ndarray, np.ndarray, Any]]]:
    """Image, truth and objects of every frame, clip by clip."""
    demo = load_clip(DEMO)
    yield [(demo.image(i), demo.truth(i), demo.sightings[i]) for i in range(len(demo))]
    scene = yaml.safe_load((DEMO / "scene.yaml").read_text())
    frames, _ = read_video(args.video)
    bonnet = polygon(scene["bonnet_polygon"], frames[0].shape[:2]) > 0
    empty = np.where(bonnet, 255, 0).astype(np.uint8)
    yield [(frame, empty, ()) for frame in frames]
    look = Look(**{**scene["look"], "shadow_per_meter": tuple(scene["look"]["shadow_per_meter"])})
    kinds = [kind.partition("/")[2] for kind in yaml.safe_load(KINDS.read_text())["kinds"] if "emoji3d" in kind]
    for seed in range(args.scenes):
        rng = np.random.default_rng(seed)
        names = rng.choice(kinds, 6, replace=False)
        ahead, right = np.sort(rng.uniform(12, 75, 6)), rng.uniform(-3.2, 3.6, 6)
        objects = [
            load_cutout(
                args.cutouts / f"fluent3d__{name}.png",
                name,
                (float(x), float(z)),
                float(rng.uniform(0.5, 1.2)),
                look,
                float(rng.uniform(0.7, 1.3)),
            )
            for name, x, z in zip(names, right, ahead, strict=True)
        ]
        pairs = enumerate(zip(frames, demo.poses, strict=True))
        layers = (compose_layers(f, objects, demo.camera, pose, look, bonnet, number) for number, (f, pose) in pairs)
        yield [(image, truth, sightings) for image, truth, _, sightings in layers]


def averaged(frames: list[Seen]) -> list[Seen]:
    """Every frame's scores as the mean of its own and the average before it."""
    result: list[Seen] = []
    for seen in frames:
        before, now = result[-1].network if result else seen.network, seen.network
        means = {
            name: (getattr(before, name) + getattr(now, name)) / 2 for name in ("anomaly", "refined", "background")
        }
        result.append(replace(seen, network=replace(now, **means)))
    return result


def shown(
    frames: list[Seen], head: OpenSetHead, config: TrackerConfig | None, rate: float, unknown: int
) -> Iterator[OpenSetResult]:
    """What is shown of each frame: instances of confirmed tracks only, or all without a tracker."""
    tracker = Tracker()
    geometry = Letterbox(frames[0].network.anomaly.shape).geometry(*frames[0].truth.shape)
    for number, seen in enumerate(frames):
        result = head.compute(seen.network, geometry, frozenset({Output.UNKNOWN_INSTANCES}), image=seen.image)
        if config is not None:
            nowhere = np.full((len(result.instances) + len(result.candidates), 2), np.nan)
            followed = update_tracks(tracker, int(1e9 * number / rate), result, nowhere, config, unknown)
            confirmed = {track.track_id for track in followed.tracks if track.confirmed}
            instances = tuple(i for i in followed.result.instances if i.id in confirmed)
            result = replace(followed.result, instances=instances)
        yield result


def add(score: Score, frames: list[Seen], results: Iterator[OpenSetResult], min_pixels: int) -> None:
    """Count one clip."""
    first: dict[str, int] = {}
    hit: dict[str, int] = {}
    for number, (seen, result) in enumerate(zip(frames, results, strict=True)):
        got = set()
        for instance in result.instances:
            x0, y0, x1, y1 = instance.bbox
            assert result.unknown_instances is not None
            truth = seen.truth[y0:y1, x0:x1][result.unknown_instances[y0:y1, x0:x1] == instance.id]
            judged = int((truth != 255).sum())
            if judged < 0.5 * truth.size:
                continue
            score.false += int((truth == 1).sum() < COVERED * judged)
            for thing in seen.objects:
                a0, b0, a1, b1 = thing.bbox
                inside = result.unknown_instances[b0:b1, a0:a1] == instance.id
                if (inside & (seen.truth[b0:b1, a0:a1] == 1)).sum() >= COVERED * thing.pixels:
                    got.add(thing.name)
        for thing in seen.objects:
            if thing.pixels >= min_pixels:
                first.setdefault(thing.name, number)
                score.found += thing.name in got
                score.missed += thing.name not in got
                if thing.name in got:
                    hit.setdefault(thing.name, number)
    score.never += len(first.keys() - hit.keys())
    score.delays += tuple(hit[name] - first[name] for name in first if name in hit)


def main() -> None:
    """Run the network once over every frame, then every variant over its outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="the video that scene.yaml names")
    parser.add_argument("--cutouts", type=Path, required=True, help="folder with fluent3d__NAME.png")
    parser.add_argument("--scenes", type=int, default=4, help="clips with random objects (default: %(default)s)")
    parser.add_argument("--min-pixels", type=int, default=100)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--refined", type=float, help="seed of unknown instances (default: the model's)")
    parser.add_argument("--extent", type=float, help="how far instances grow (default: the model's)")
    args = parser.parse_args()
    manifest, rate = load_bundle(args.model).manifest, load_clip(DEMO).frame_rate
    perception = Perception.load(args.model)
    nothing: frozenset[Output] = frozenset()
    recorded = [
        [Seen(i, perception.infer_raw(Frame(i), nothing, raw=False)[1], t, tuple(o)) for i, t, o in c]
        for c in clips(args)
    ]
    given_limits = {name: getattr(args, name) for name in ("refined", "extent") if getattr(args, name) is not None}
    limits = replace(manifest.thresholds, **given_limits)
    print(f"{manifest.name}, {len(recorded)} clips of {len(recorded[0])} frames, seed {limits.refined}")
    for name, config, share in VARIANTS:
        head = OpenSetHead(manifest.labels, limits, low_threshold=share * limits.refined, decision=manifest.decision)
        score = Score()
        for frames in recorded:
            given = averaged(frames) if name == AVERAGED else frames
            add(score, given, shown(given, head, config, rate, manifest.labels.unknown_id), args.min_pixels)
        print(f"  {name:32s} {score}", flush=True)


if __name__ == "__main__":
    main()
