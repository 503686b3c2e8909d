"""The whole loop on real pixels: what a fleet met, named, and trained with; measured on a drive that nobody has seen.

Two things stand or lie in every scene: a backpack (cut-outs of COCO, a kind that the model often misses) and a painted
cycle lane (which it takes for unknown). Two CamVid drives and the motorway clip are replayed and harvested; the script
plays the person who names clusters, by what is there in truth; the export goes into `m2a train`. Then two bags of
CamVid's test drives are replayed before and after: one with the same backpacks, one with others.

python -m benchmarks.closing_loop --data DATA --out DIR [--steps N] [drives|name|train|measure ...]
Each step begins where the one before ended; without names all four run.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.closing_loop_drives import KINDS, write_drive
from benchmarks.closing_loop_truth import kinds_of_records, measure_replay

ROOT = Path(__file__).resolve().parents[1]
UNSEEN = ("same", "others")
STEPS = ("drives", "name", "train", "measure")
SHIPPED = ROOT / "engines" / "m2a-edge"
SIZE = "360x480"


def m2a(*arguments: object) -> None:
    """Run a command; stops the benchmark where it fails."""
    subprocess.run([sys.executable, "-m", "m2a_ros.main", *map(str, arguments)], check=True, cwd=ROOT)


def drives(data: Path, out: Path) -> None:
    """Compose, replay and harvest the drives; compose the unseen ones."""
    val = sorted((data / "camvid" / "images" / "val").glob("*.jpg"))
    test = sorted((data / "camvid" / "images" / "test").glob("*.jpg"))
    backpacks = sorted((data / "outliers_coco" / "train").glob("coco_*.png"))
    kind = {
        row.split(",")[0]: row.split(",")[1]
        for row in (data / "outliers_coco" / "train.csv").read_text(encoding="utf-8").splitlines()[1:]
    }
    backpacks = [path for path in backpacks if kind[path.name] == "coco_backpack"]
    seen = backpacks[:3]
    write_drive(out / "drive_a", val[: len(val) // 2 : 3], seen, 3, 1)
    write_drive(out / "drive_b", val[len(val) // 2 :: 3], seen, 3, 2)
    write_drive(out / "drive_c", [data / "video" / "highway_38frames.mp4"], seen, 3, 3)
    write_drive(out / "others", test[::6], backpacks[3:], 1, 4)
    write_drive(out / "same", test[3::6], seen, 1, 5)
    bags = [out / name / name for name in ("drive_a", "drive_b", "drive_c")]
    m2a("replay", *bags, "--mode", "offline", "--threads", 1, "--out", out / "replay")
    m2a("harvest", out / "replay", "--threads", 1, "--keep-frames", "--out", out / "harvest")


def name(out: Path) -> None:
    """Name every cluster by what most of its objects are; export."""
    info = json.loads((out / "harvest" / "harvest.json").read_text(encoding="utf-8"))
    by_cluster: dict[int, Counter[str]] = {}
    for cluster, kind in kinds_of_records(out / "harvest", out):
        by_cluster.setdefault(cluster, Counter())[kind] += 1
    clusters = {}
    for cluster, counts in sorted(by_cluster.items()):
        kind, most = counts.most_common(1)[0]
        print(f"cluster {cluster}: {dict(counts)}")
        if cluster >= 0 and kind in KINDS and most > sum(counts.values()) / 2:
            clusters[str(cluster)] = {"name": kind, "kind": KINDS[kind]}
    choices = {"format": 1, "harvest": info["harvest"], "clusters": clusters, "objects": {}}
    (out / "choices.json").write_text(json.dumps(choices), encoding="utf-8")
    m2a("harvest", "export", out / "harvest", "--choices", out / "choices.json", "--out", out / "data" / "harvested")


def train(data: Path, out: Path, steps: int | None) -> None:
    """Fine-tune the weights that ship, and export a bundle with the thresholds that ship."""
    root = out / "data"
    for folder in ("camvid", "outliers"):
        if not (root / folder).exists():
            (root / folder).symlink_to((data / folder).resolve())
    config = configuration(root, steps)
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    shutil.rmtree(out / "run", ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    m2a("train", "--config", out / "config.yaml", "--data-root", root, "--out", out / "run", "--cpu")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    print(f"{config['stages'][0]['iterations']} steps, {minutes:.1f} minutes of one core")
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    (out / "thresholds.json").write_text(json.dumps(manifest["thresholds"]), encoding="utf-8")
    weights = out / "run" / "edge-camvid.safetensors"
    m2a(
        "export",
        "--weights",
        weights,
        "--model",
        "edge-camvid",
        "--size",
        SIZE,
        "--thresholds",
        out / "thresholds.json",
        "--decision",
        manifest["decision"],
        "--out",
        out / "after",
    )


def configuration(root: Path, steps: int | None) -> dict[str, Any]:
    """``config/training/harvested.yaml`` on CamVid's frames and labels, with what was named."""
    config: dict[str, Any] = yaml.safe_load(
        (ROOT / "config" / "training" / "harvested.yaml").read_text(encoding="utf-8")
    )
    named = json.loads((root / "harvested" / "export.json").read_text(encoding="utf-8"))["names"]
    kinds = {entry["name"]: entry["kind"] for entry in named}
    data = config["data"]
    for key in ("format", "root", "classes", "segments"):
        data.pop(key, None)
    data |= {"dataset": "camvid", "splits": {"train": 1}}
    data["validation_kinds"] = str(ROOT / "config" / "training" / "outlier_validation_kinds.yaml")
    data["outliers"] = {"root": "outliers", "favour": {name: 20 for name, kind in kinds.items() if kind == "outlier"}}
    if "outlier" in kinds.values():
        data["outliers"]["more_roots"] = ["harvested/outliers"]
    if "false_alarm" not in kinds.values():
        del data["hard_negatives"]
    config |= {"model": "edge-camvid", "initial_weights": str(SHIPPED / "m2a-edge.safetensors"), "threads": 1}
    if steps:
        config["stages"][0]["iterations"] = steps
    return config


def measure(data: Path, out: Path) -> None:
    """Replay the unseen drives and score CamVid, before and after."""
    figures: dict[str, dict[str, Any]] = {}
    for side, model in (("before", SHIPPED), ("after", out / "after")):
        figures[side] = {}
        for drive in UNSEEN:
            folder = out / f"{drive}_{side}"
            m2a(
                "replay",
                out / drive / drive,
                "--mode",
                "offline",
                "--threads",
                1,
                "--model",
                model,
                "--gt",
                out / drive / "truth",
                "--gt-instances",
                out / drive / "instances",
                "--out",
                folder,
            )
            figures[side][drive] = measure_replay(folder, out / drive)
        scores = out / f"camvid_{side}.json"
        m2a(
            "evaluate",
            "--dataset",
            "camvid",
            "--root",
            data / "camvid",
            "--model",
            model,
            "--workers",
            1,
            "--json",
            scores,
        )
        figures[side]["miou"] = json.loads(scores.read_text(encoding="utf-8"))["miou"]
        print(side, json.dumps(figures[side]))
    for drive in UNSEEN:
        m2a("replay", "compare", out / f"{drive}_before", out / f"{drive}_after", "--out", out / f"{drive}_compared")
    (out / "figures.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="of training (default: the configuration's)")
    parser.add_argument("parts", nargs="*", metavar="STEP", help=f"some of {', '.join(STEPS)} (default: all)")
    args = parser.parse_args(arguments)
    data, out = args.data.resolve(), args.out.resolve()
    for part in args.parts or STEPS:
        if part == "drives":
            drives(data, out)
        elif part == "name":
            name(out)
        elif part == "train":
            train(data, out, args.steps)
        elif part == "measure":
            measure(data, out)
        else:
            parser.error(f"'{part}': expected some of {', '.join(STEPS)}")


if __name__ == "__main__":
    main()
