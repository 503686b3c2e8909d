"""The whole loop on real pixels: what a fleet met, named, and trained with; measured on drives that nobody has seen.

Objects of kinds that the weights were not trained on (cut-outs of COCO) stand where road or pavement is free, and a
cycle lane is painted there, which the model takes for unknown. Drives of CamVid and KITTI pictures and the motorway
clip are replayed and harvested; the script plays the person who names clusters, and objects that lie in another one, by
what is there in truth; the export goes into ``m2a train`` with the recipe of ``config/training/harvested.yaml``. Then
two bags of CamVid's test drives are replayed before and after: ``same`` with the objects of the drives, ``others`` with
other objects of the same kinds.

python -m benchmarks.closing_loop --data DATA --out DIR [--kinds KIND,...] [--outliers-only] [--steps N] [STEP ...]
Steps are drives, name, train, thresholds and measure: each begins where the one before ended. With names those run;
without, all that an earlier call with the same options has not done in DIR.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from benchmarks.closing_loop_truth import measure_replay
from benchmarks.harvest_bags import CYCLE_LANE, scenes_of, write_drive
from benchmarks.harvest_purity import FALSE_ALARM, belongs, kind_of, purity, report
from m2a_core.data.packed_cityscapes import packed_cityscapes
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.records import NO_CLUSTER
from m2a_core.training.datasets import camvid_sources

ROOT = Path(__file__).resolve().parents[1]
DRIVES = ("camvid_a", "camvid_b", "motorway", "kitti")
UNSEEN = ("same", "others")
STEPS = ("drives", "name", "train", "thresholds", "measure")
SHIPPED = ROOT / "engines" / "m2a-edge"
RECIPES = ROOT / "config" / "training"
SETS = ("camvid", "cityscapes_640", "idd_lite", "outliers", "outliers_coco")
MIX = {"cityscapes_640": 1, "camvid": 1}
SCENE = "scene"
"""What parts of the scene are named that were taken for unknown."""
_HOLD = 4
"""Frames of a picture in the drives."""
_DONE = ".{}.done"


def m2a(*arguments: object) -> None:
    """Run a command; stops the benchmark where it fails."""
    subprocess.run([sys.executable, "-m", "m2a_ros.main", *map(str, arguments)], check=True, cwd=ROOT)


def drives(data: Path, out: Path, kinds: Sequence[str]) -> None:
    """Compose, replay and harvest the drives; compose the unseen ones."""
    for old in ("bags", "replay", "harvest"):
        shutil.rmtree(out / old, ignore_errors=True)
    folder = data / "outliers_coco"
    with (folder / "train.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    files = {kind: [folder / "train" / row["file"] for row in rows if row["kind"] == f"coco_{kind}"] for kind in kinds}
    met = {kind: paths[: len(paths) // 2] for kind, paths in files.items()}
    other = {kind: paths[len(paths) // 2 :] for kind, paths in files.items()}
    val, test = (sorted((data / "camvid" / "images" / split).glob("*.jpg")) for split in ("val", "test"))
    pictures = {
        "camvid_a": _met(val, 0),
        "camvid_b": _met(val, 1),
        "motorway": [data / "video" / "highway_38frames.mp4"],
        "kitti": sorted((data / "kitti_sem5" / "images").glob("*.jpg")),
    }
    for seed, name in enumerate(DRIVES):
        scenes = scenes_of(pictures[name], _HOLD)
        write_drive(out / "bags" / name, scenes, met, np.random.default_rng(seed), 2, lanes=True)
    write_drive(out / "bags" / "same", scenes_of(test[1::3], 1), met, np.random.default_rng(10), 2, lanes=True)
    write_drive(out / "bags" / "others", scenes_of(test[::3], 1), other, np.random.default_rng(11), 2, lanes=True)
    bags = [out / "bags" / name / name for name in DRIVES]
    m2a("replay", *bags, "--mode", "offline", "--threads", 1, "--out", out / "replay")
    m2a("harvest", out / "replay", "--threads", 1, "--keep-frames", "--out", out / "harvest")


def name(out: Path, kinds: Sequence[str], false_alarms: bool) -> None:
    """Name every cluster by what most of its objects are, take out what does not belong there, and export.

    With ``false_alarms`` also those of lanes and of parts of the scene.
    """
    harvest = Harvest.open(out / "harvest")
    bags = out / "bags"
    records = list(harvest.records())
    found = purity([(record.cluster, kind_of(record, bags)) for record in records])
    print(report(found))
    meaning = dict.fromkeys(kinds, "outlier")
    if false_alarms:
        meaning |= {CYCLE_LANE: "false_alarm", FALSE_ALARM: "false_alarm"}
    clusters = {}
    for cluster, counts in found.clusters.items():
        kind, most = counts.most_common(1)[0]
        if cluster != NO_CLUSTER and kind in meaning and most > sum(counts.values()) / 2:
            clusters[cluster] = {"name": SCENE if kind == FALSE_ALARM else kind, "kind": meaning[kind]}
    # Whoever names a cluster looks at its pictures: what shows something else, or two things at once, is taken out, and
    # an object that lies elsewhere is named by itself.
    objects = {}
    for record in records:
        cluster_name = clusters.get(record.cluster, {}).get("name")
        own = next((kind for kind in kinds if belongs(record, bags, kind)), None)
        if own is not None and own != cluster_name:
            objects[record.id] = {"name": own, "kind": "outlier"}
        elif cluster_name and not belongs(record, bags, FALSE_ALARM if cluster_name == SCENE else cluster_name):
            objects[record.id] = {"name": "", "kind": "skip"}
    out_of_place = sum(chosen["kind"] == "skip" for chosen in objects.values())
    print(
        f"{len(clusters)} clusters named, {out_of_place} of {len(records)} objects taken out, "
        f"{len(objects) - out_of_place} named by themselves"
    )
    choices = {
        "format": 1,
        "harvest": harvest.hash,
        "clusters": {str(cluster): named for cluster, named in clusters.items()},
        "objects": objects,
    }
    (out / "choices.json").write_text(json.dumps(choices), encoding="utf-8")
    shutil.rmtree(out / "data" / "harvested", ignore_errors=True)
    m2a("harvest", "export", out / "harvest", "--choices", out / "choices.json", "--out", out / "data" / "harvested")


def train(data: Path, out: Path, steps: int | None) -> None:
    """Fine-tune the weights that ship, and export them."""
    root = out / "data"
    for folder in SETS:
        if not (root / folder).exists():
            (root / folder).symlink_to((data / folder).resolve())
    config = configuration()
    if not (root / "harvested" / "hard_negatives").exists():
        del config["data"]["hard_negatives"]
    if steps:
        config["stages"][0]["iterations"] = steps
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    for folder in ("run", "exported"):
        shutil.rmtree(out / folder, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    m2a("train", "--config", out / "config.yaml", "--data-root", root, "--out", out / "run", "--cpu")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    print(f"{config['stages'][0]['iterations']} steps, {minutes:.1f} minutes of one core")
    size = "x".join(map(str, json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))["input_size"]))
    weights = ["--weights", out / "run" / "m2a-edge.safetensors", "--model", "m2a-edge", "--size", size]
    m2a("export", *weights, "--thresholds", SHIPPED, "--out", out / "exported")


def thresholds(data: Path, out: Path) -> None:
    """Thresholds at which as many normal frames raise an alarm as with the weights that ship.

    The frames are of several drives, about as many of each set; nothing is trained on them or harvested from them.
    """
    for folder in ("normal", "after"):
        shutil.rmtree(out / folder, ignore_errors=True)
    normal = out / "normal"
    normal.mkdir()
    for path in normal_frames(data, configuration()["data"]):
        (normal / path.name).symlink_to(path)
    for sample in packed_cityscapes(data / "cityscapes_640").samples[::3]:
        cv2.imwrite(str(normal / f"{sample.name}.jpg"), sample.picture()[..., ::-1])
    m2a("calibrate", "--model", out / "exported", "--images", normal, "--like", SHIPPED, "--out", out / "after")


def normal_frames(data: Path, settings: dict[str, Any]) -> Iterator[Path]:
    """Those of CamVid and IDD-lite."""
    camvid = data / "camvid"
    _, held = camvid_sources(camvid, {"train": 1}, settings["held_apart"])
    yield from (camvid / "images" / "train" / f"{source.name}.jpg" for source in held[::2])
    val = sorted((camvid / "images" / "val").glob("*.jpg"))
    used = {*val[:: settings["splits"]["val"]], *_met(val, 0), *_met(val, 1)}
    yield from [path for path in val if path not in used][::4]
    yield from sorted((data / "idd_lite" / "images" / "test").glob("*.jpg"))[::10]


def _met(val: Sequence[Path], half: int) -> Sequence[Path]:
    """The pictures of one of the two drives that are made of CamVid's validation clip."""
    middle = len(val) // 2
    return val[middle::3] if half else val[:middle:3]


def configuration() -> dict[str, Any]:
    """``config/training/harvested.yaml`` on the frames and other outliers that the weights were trained on."""
    config: dict[str, Any] = yaml.safe_load((RECIPES / "harvested.yaml").read_text(encoding="utf-8"))
    shipped = yaml.safe_load((RECIPES / "m2a-edge.yaml").read_text(encoding="utf-8"))["data"]
    data = config["data"]
    for key in ("format", "root", "classes"):
        data.pop(key, None)
    data |= {"dataset": "roads", "mix": MIX} | {key: shipped[key] for key in ("splits", "held_apart")}
    data["outliers"]["more_roots"].append("outliers_coco")
    data["outliers"]["held"] = shipped["outliers"]["held"]
    return config | {"threads": 1}


def measure(data: Path, out: Path) -> None:
    """Replay the unseen drives and score the known classes of CamVid and Cityscapes, before and after."""
    figures: dict[str, dict[str, Any]] = {}
    for side, model in (("before", SHIPPED), ("after", out / "after")):
        figures[side] = {}
        for drive in UNSEEN:
            bag, folder = out / "bags" / drive, out / f"{drive}_{side}"
            shutil.rmtree(folder, ignore_errors=True)
            m2a("replay", bag / drive, "--mode", "offline", "--threads", 1, "--model", model, "--out", folder)
            figures[side][drive] = measure_replay(folder, bag)
        for known in MIX:
            scores = out / f"{known}_{side}.json"
            labelled = ["--dataset", known, "--root", data / known]
            m2a("evaluate", *labelled, "--model", model, "--json", scores)
            figures[side][f"{known}_miou"] = json.loads(scores.read_text(encoding="utf-8"))["miou"]
        print(side, json.dumps(figures[side]))
    (out / "figures.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", default="chair,dog", help="of DATA/outliers_coco (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="of training (default: the configuration's)")
    parser.add_argument("--outliers-only", action="store_true", help="name no false alarms")
    parser.add_argument("parts", nargs="*", metavar="STEP", help=f"some of {', '.join(STEPS)} (default: all)")
    args = parser.parse_args(arguments)
    data, out, kinds = args.data.resolve(), args.out.resolve(), args.kinds.split(",")
    settings = json.dumps([args.kinds, args.outliers_only, args.steps])
    for part in args.parts or [step for step in STEPS if not _is_done(out, step, settings)]:
        if part == "drives":
            drives(data, out, kinds)
        elif part == "name":
            name(out, kinds, not args.outliers_only)
        elif part == "train":
            train(data, out, args.steps)
        elif part == "thresholds":
            thresholds(data, out)
        elif part == "measure":
            measure(data, out)
        else:
            parser.error(f"'{part}': expected some of {', '.join(STEPS)}")
        # What was made of the step's old result is no longer up to date.
        for later in STEPS[STEPS.index(part) + 1 :]:
            (out / _DONE.format(later)).unlink(missing_ok=True)
        (out / _DONE.format(part)).write_text(settings, encoding="utf-8")


def _is_done(out: Path, step: str, settings: str) -> bool:
    file = out / _DONE.format(step)
    return file.is_file() and file.read_text(encoding="utf-8") == settings


if __name__ == "__main__":
    main()
