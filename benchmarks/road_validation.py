"""One model on all sets of `benchmarks/road_sets.py` and the demo's clip: figures with intervals, hit rates by size.

The network runs once a frame; every score is computed from that run, so that the scores of one network stand side by
side. FPR of the hard sets is taken at the thresholds of `small`: the one at 95 % true-positive rate and the one at 1 %
false positives.

python -m benchmarks.road_validation --sets out/road --model m2a-edge --json out/road.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame_intervals import FrameHistograms
from benchmarks.object_hits import ObjectScore, hit_rate, object_scores
from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.compose.clip import load_clip
from m2a_core.data.catalog import open_dataset
from m2a_core.data.files import SCORE_KEY
from m2a_core.evaluation.predict import Scorer, parse_scores, score_key
from m2a_core.perception import Perception

SIZES = (0, 30, 100, 300, 1000, 3000, 10**9)
"""Bins of objects by area, pixels of the frame as it is."""
STEP = 2
"""Of the pixels, every second of every second row counts; of objects, all."""
CLIP = Path(__file__).parent.parent / "config" / "demo"

Frames = Iterator[tuple[np.ndarray, np.ndarray]]


class SetFigures:
    """What is kept of one score on one set."""

    def __init__(self) -> None:
        """Start empty."""
        self.frames: list[tuple[np.ndarray, np.ndarray]] = []
        self.objects: list[ObjectScore] = []

    def add(self, score: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame."""
        self.frames.append((score[::STEP, ::STEP].astype(np.float16), truth[::STEP, ::STEP]))
        self.objects += object_scores(score, truth)

    def histograms(self) -> FrameHistograms:
        """The frames' scores, binned."""
        every = max(1, sum(s.size for s, _ in self.frames) // 2_000_000)
        sample = np.concatenate([s[t < 2][::every] for s, t in self.frames])
        high = np.concatenate([s[t == 1] for s, t in self.frames])[:200_000]
        made = FrameHistograms(np.concatenate([sample, high]).astype(np.float32))
        for score, truth in self.frames:
            made.add(score.astype(np.float32), truth)
        return made


def folder_frames(root: Path) -> Frames:
    """Pictures and truths of a set."""
    dataset = open_dataset("folder", root)
    for sample in dataset.samples:
        yield sample.picture(), dataset.anomaly_truth(sample)


def clip_frames() -> Frames:
    """Those of the demo's clip."""
    clip = load_clip(CLIP)
    for number in range(len(clip)):
        yield clip.image(number), clip.truth(number)


def measure(frames: Frames, scorer: Scorer) -> dict[str, SetFigures]:
    """All scores on one set."""
    kept = {name: SetFigures() for name in scorer.scores}
    for image, truth in frames:
        maps = scorer.compute(image)
        for i, name in enumerate(scorer.scores):
            kept[name].add(maps[SCORE_KEY if i == 0 else score_key(name)], truth)
    return kept


def figures_of(kept: SetFigures) -> dict[str, Any]:
    """AuPRC and FPR95 with intervals; hit rates by size at 1 and 0.1 % false positives; thresholds."""
    made = kept.histograms()
    found: dict[str, Any] = {name: [i.value, i.low, i.high] for name, i in made.figures().items()}
    known, anomaly = np.sum(made.known, 0), np.sum(made.anomaly, 0)
    recall = np.cumsum(anomaly[::-1])[::-1] / anomaly.sum()
    # The bin above which 95 % of the anomaly lies begins at this edge.
    found["tpr95_threshold"] = float(made.edges[max(0, int(np.flatnonzero(recall >= 0.95)[-1]) - 1)])
    found["known_pixels"] = int(known.sum())
    for rate in (0.01, 0.001):
        threshold = made.threshold(rate)
        sizes = {
            f"{a}..{b}": [hit_rate(kept.objects, threshold, a, b), sum(a <= o.area < b for o in kept.objects)]
            for a, b in itertools.pairwise(SIZES)
        }
        found[f"fpr {rate}"] = {
            "threshold": threshold,
            "hits": hit_rate(kept.objects, threshold),
            "by size": sizes,
            "small": hit_rate(kept.objects, threshold, 100, 1000),
        }
    return found


def hard_figures(kept: SetFigures, small: dict[str, Any]) -> dict[str, float]:
    """Shares of the pixels above the thresholds of ``small``."""
    values = np.concatenate([s[t == 0] for s, t in kept.frames]).astype(np.float32)
    return {
        "at 95 % TPR": float((values >= small["tpr95_threshold"]).mean()),
        "at 1 % FPR": float((values >= small["fpr 0.01"]["threshold"]).mean()),
    }


def main() -> None:
    """Print the tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, required=True, help="folder of road_sets.py")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--scores", default="refined,anomaly,background,msp,max_logit,energy,entropy,rba,eam")
    parser.add_argument("--only", nargs="*", metavar="SET", help="sets, clip and hard among them (default: all)")
    parser.add_argument("--one-pass", action="store_true", help="without the horizon window")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    scorer = Scorer(Perception.load(args.model, horizon=not args.one_pass), parse_scores(args.scores))
    result: dict[str, Any] = {}
    wanted = {*(args.only or ("small", "large", "vehicles", "idd", "clip", "hard"))}
    for name in ("small", "large", "vehicles", "idd"):
        if name in wanted and (args.sets / name).is_dir():
            result[name] = {s: figures_of(k) for s, k in measure(folder_frames(args.sets / name), scorer).items()}
            show(name, result[name])
    if "clip" in wanted:
        result["clip"] = {s: figures_of(k) for s, k in measure(clip_frames(), scorer).items()}
        show("clip", result["clip"])
    for folder in sorted((args.sets / "hard").glob("*/")) if {"hard", "small"} <= wanted else []:
        kept = measure(folder_frames(folder), scorer)
        result[f"hard/{folder.name}"] = {s: hard_figures(k, result["small"][s]) for s, k in kept.items()}
        shares = ", ".join(f"{s} {100 * f['at 1 % FPR']:.1f} %" for s, f in result[f"hard/{folder.name}"].items())
        print(f"hard/{folder.name}, share above the threshold of 1 % FPR on small: {shares}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def show(name: str, figures: dict[str, Any]) -> None:
    """Print one set's table."""
    print(name)
    for score, found in figures.items():
        (ap, *ap_ends), (fpr, *fpr_ends) = found["auprc"], found["fpr95"]
        ends = [f"{100 * low:.0f}..{100 * high:.0f}" for low, high in (ap_ends, fpr_ends)]
        hits = " / ".join(f"{100 * found[f'fpr {rate}']['small']:.0f}" for rate in (0.01, 0.001))
        print(
            f"  {score:12s} AuPRC {100 * ap:5.1f} ({ends[0]})  FPR95 {100 * fpr:5.1f} ({ends[1]})  "
            f"objects of 100-1000 px hit at 1 / 0.1 %: {hits} %"
        )


if __name__ == "__main__":
    main()
