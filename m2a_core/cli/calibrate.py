"""Choose a model's anomaly thresholds on your own frames and store them in the model's manifest.

With labelled frames: the threshold of the anomaly score (Eq. 7), from which the open-set mask calls a pixel unknown, at
which 95 % (--tpr) of the anomalous pixels are found. The seeds of unknown instances stay as they are.

With normal frames only (--frame-fpr RATE): the lowest threshold at which a normal frame raises an alarm with
probability at most RATE, for the anomaly score and for the seeds of unknown instances (the refined score, Eq. 15).
This holds for any distribution of scores as long as new frames are like the given ones: take frames from many drives,
not neighbours of one video, and none that the model was trained on. RATE 0.01 needs at least 99 frames. An alarm is
--min-pixels pixels at or above the threshold; by default as many as the smallest unknown object the model reports.

examples:
  m2a calibrate --model engines/m2a-edge --images val/images --gt val/masks
  m2a calibrate --model engines/m2a-edge --images normal_frames --frame-fpr 0.01
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from m2a_core.errors import ConfigError, DataError, EngineError

HELP = "choose the anomaly threshold on labelled or only-normal frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="a model bundle (default: the one that ships)")
    parser.add_argument("--images", type=Path, metavar="DIR", help="camera images")
    parser.add_argument("--gt", type=Path, metavar="DIR", help="their ground truth: 0 known, 1 anomaly, 255 void")
    parser.add_argument("--dataset", metavar="NAME", help="a labelled benchmark instead of --images and --gt")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where it lies")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--tpr", type=float, default=0.95, metavar="P", help="true-positive rate (default: 0.95)")
    rule.add_argument("--frame-fpr", type=float, metavar="RATE", help="wanted false alarms per normal frame")
    parser.add_argument("--min-pixels", type=int, metavar="N", help="pixels that make an alarm")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    from tqdm import tqdm

    from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
    from m2a_core.evaluation import calibration
    from m2a_core.metrics.pixel import split_scores
    from m2a_core.perception import Perception
    from m2a_core.types import Frame, Output

    if args.min_pixels is not None and args.min_pixels < 1:
        raise ConfigError(f"--min-pixels: expected at least 1, got {args.min_pixels}")
    calibration.check_tpr(args.tpr)
    frames = list(_frames(args))
    if args.frame_fpr is not None:
        calibration.require_frames(len(frames), args.frame_fpr)
    bundle = load_bundle(args.model or DEFAULT_MODEL)
    _check(frames, anomalies=args.frame_fpr is None)
    perception = Perception.load(bundle.directory, spin=True)
    normal = args.frame_fpr is not None
    kept: dict[str, list[np.ndarray]] = {"anomaly": [], "refined": []}
    decided_by = {"anomaly": Output.SCORE.value, "refined": Output.REFINED.value}
    for path, read, truth in tqdm(frames, unit="frame"):
        image = read()
        result = perception.infer(Frame(image), frozenset({Output.SCORE, Output.REFINED}))
        mask = np.zeros(image.shape[:2], np.uint8) if truth is None else truth()
        pixels = args.min_pixels or max(1, round(bundle.manifest.thresholds.min_area * mask.size))
        for name, parts in kept.items():
            try:
                anomaly, known = split_scores(getattr(result, decided_by[name]), mask)
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
            parts.append(np.array([calibration.alarm_score(known, pixels)], np.float32) if normal else anomaly)
    perception.close()

    chosen: dict[str, float] = {}
    for name, parts in kept.items():
        scores = np.concatenate(parts)
        if normal:
            guarantee = calibration.conformal_threshold(scores, args.frame_fpr)
            chosen[name] = guarantee.threshold
            print(
                f"{name:8s} threshold {guarantee.threshold:.6g}: at most {100 * guarantee.rate:g} % of normal frames "
                f"raise an alarm ({guarantee.alarms} of these {guarantee.frames} do; with 95 % confidence at most "
                f"{100 * guarantee.bound():.2f} %)"
            )
        else:
            threshold = calibration.threshold_at_tpr(scores, args.tpr)
            print(f"{name:8s} threshold {threshold:.6g}: finds {100 * args.tpr:g} % of {len(scores)} anomalous pixels")
            # A seed that 95 % of the pixels reach would make every segment border an instance.
            if name == "anomaly":
                chosen[name] = threshold
    if normal:
        needed = calibration.frames_needed(args.frame_fpr)
        print(f"this guarantee needs at least {needed} normal frames; {len(frames)} were given")
    manifest = bundle.manifest
    figures = {"calibration_frames": float(len(frames))}
    figures |= {"calibration_frame_fpr": args.frame_fpr} if normal else {"calibration_tpr": args.tpr}
    old = {k: v for k, v in manifest.metrics.items() if not k.startswith("calibration_")}
    updated = replace(manifest, thresholds=replace(manifest.thresholds, **chosen), metrics={**old, **figures})
    _store(bundle.directory, updated.to_json())
    print(f"stored in {bundle.directory / 'manifest.json'}")
    return 0


_Reader = Callable[[], np.ndarray]
_NAMED = 5


def _check(frames: Sequence[tuple[Path, _Reader, _Reader | None]], anomalies: bool) -> None:
    """Read every frame before the network runs: a bad one found at the end would cost all the work before it.

    Args:
        frames: paths and readers.
        anomalies: some pixel must be anomalous.

    Raises:
        DataError: naming the first few that cannot be read or do not fit their truth.
    """
    from m2a_core.evaluation.calibration import require_anomalies
    from m2a_core.metrics.pixel import ANOMALY, VOID, split_scores

    bad, pixels = [], np.zeros(256, np.int64)
    for path, read, truth in frames:
        try:
            size = read().shape[:2]
            if truth is not None:
                mask = truth()
                split_scores(np.zeros(size, np.float32), mask)
                pixels += np.bincount(mask.ravel(), minlength=256)
        except DataError as error:
            bad.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    if bad:
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise DataError(
            f"{len(bad)} of {len(frames)} frames cannot be used; mend or remove them: {'; '.join(bad[:_NAMED])}{more}"
        )
    if anomalies:
        require_anomalies(int(pixels[ANOMALY]), int(pixels[VOID]))


def _frames(args: argparse.Namespace) -> Iterator[tuple[Path, _Reader, _Reader | None]]:
    """Image paths, what reads them and what reads their truth; None for a frame that is all normal."""
    from m2a_core.data.catalog import open_dataset
    from m2a_core.data.files import files_by_frame, read_truth
    from m2a_core.images import SUFFIXES, read_image
    from m2a_core.labels.label_map import SUFFIXES as LABEL_SUFFIXES

    if args.dataset and args.root and not args.images:
        dataset = open_dataset(args.dataset, args.root)
        for sample in dataset.samples:
            yield sample.image, sample.picture, partial(dataset.anomaly_truth, sample)
        return
    if not args.images or args.dataset or args.root:
        raise ConfigError("give --images DIR [--gt DIR], or --dataset NAME --root DIR")
    if args.gt is None and args.frame_fpr is None:
        raise ConfigError("--images without --gt are taken for normal frames: give --frame-fpr RATE too")
    images = files_by_frame(args.images, SUFFIXES, "images")
    if args.gt is None:
        yield from ((path, partial(read_image, path), None) for path in images.values())
        return
    truths = files_by_frame(args.gt, LABEL_SUFFIXES, "ground-truth masks")
    for name, path in images.items():
        if name not in truths:
            raise DataError(f"{path}: no ground truth of that name in {args.gt}")
        yield path, partial(read_image, path), partial(read_truth, truths[name])


def _store(directory: Path, text: str) -> None:
    path = directory / "manifest.json"
    partial_path = path.with_name(f".manifest.{os.getpid()}.part")
    try:
        partial_path.write_text(text, encoding="utf-8")
        partial_path.replace(path)
    except OSError as error:
        raise EngineError(
            f"{path}: cannot be written ({error.strerror}); copy the bundle's directory and calibrate the copy"
        ) from error
