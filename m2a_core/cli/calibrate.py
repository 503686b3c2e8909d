"""Choose a model's thresholds on your own frames and store them in its manifest.

With labelled frames (--gt): `anomaly`, the threshold of the open-set mask, such that it finds 95 % (--tpr) of the
anomalous pixels. `refined`, the threshold of the seeds of unknown instances, stays as it is.

With normal frames: the lowest thresholds, of the mask and of the seeds, that keep a rate of false alarms:
  --frame-fpr RATE          a normal frame raises an alarm with probability RATE at most, whatever the distribution of
                            scores, if new frames are like the given ones. Take frames from many drives, not neighbours
                            of one video. RATE 0.01 needs at least 99 frames
  --alarms-per-minute RATE  the frames, by the numbers in their names at --fps a second, raise RATE alarms a minute at
                            most. Frames in a row that raise one count as one alarm, but each second counts again
An alarm is --min-pixels pixels at or above the threshold; by default as many as the smallest unknown object the model
reports. Do not use frames that the model was trained on.

  --like MODEL              as many of the frames raise an alarm as with another bundle at its own thresholds, and they
                            show as many unknown instances, which reach as far: as many pixels are at the extent

With --drift, normal frames change no threshold. Only a profile of the network's answers to them is stored, from which
the node detects drift. The other rules store it too, from 50 frames on.

With both (--gt and --normal), the labelled frames give the mask's threshold and the normal ones the seeds'.

The scores are those that the model decides by (`decision` in the manifest). The output shows, for each threshold before
and after, what it finds and which false alarms it raises. The thresholds it prints are stored: in the bundle itself, or
with --out in a copy. A bundle that ships with m2a is changed only with --in-place.

examples:
  m2a calibrate --images val/images --gt val/masks --out engines/my-edge
  m2a calibrate --images val/images --gt val/masks --normal drive --alarms-per-minute 1 --fps 10 --out engines/my-edge
  m2a calibrate --model engines/my-edge --images normal_frames --frame-fpr 0.01
  m2a calibrate --model runs/mine/bundle --images normal_frames --like m2a-edge --out engines/mine
  m2a calibrate --images normal_frames --drift --out engines/my-edge
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2a_core.cli.calibrate_like import by_count, by_instances, by_share
from m2a_core.cli.calibration_frames import CalibrationFrame, check_readable, sources
from m2a_core.cli.given_options import refuse
from m2a_core.errors import ConfigError, DataError, ModelError
from m2a_core.files import replaced

if TYPE_CHECKING:
    from m2a_core.bundle.loading import ModelBundle
    from m2a_core.bundle.manifest import Manifest
    from m2a_core.bundle.score_profile import ScoreProfile
    from m2a_core.evaluation.threshold_costs import ScoredFrames
    from m2a_core.perception import Perception

HELP = "choose thresholds on labelled or on normal frames, and see what they cost"

_TPR = 0.95
_FOUND = {"anomaly": 0.5, "refined": 0.1}
"""Thresholds, of the open-set mask and of the seeds of unknown instances, with the share of an object's pixels by which
it is found: the mask shows half of it; a seed is somewhere in it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="a model bundle (default: the one that ships)")
    parser.add_argument("--images", type=Path, metavar="DIR", help="camera images")
    parser.add_argument("--gt", type=Path, metavar="DIR", help="their ground truth: 0 known, 1 anomaly, 255 void")
    parser.add_argument("--dataset", metavar="NAME", help="a labelled benchmark instead of --images and --gt")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of --dataset")
    parser.add_argument("--normal", type=Path, metavar="DIR", help="normal images beside the labelled ones")
    parser.add_argument("--tpr", type=float, metavar="P", help=f"true-positive rate (default: {_TPR})")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--frame-fpr", type=float, metavar="RATE", help="wanted false alarms per normal frame")
    rule.add_argument("--alarms-per-minute", type=float, metavar="RATE", help="wanted false alarms a minute")
    rule.add_argument("--like", metavar="MODEL", help="as many false alarms on normal frames as this bundle raises")
    rule.add_argument("--drift", action="store_true", help="keep the thresholds; store only the profile of drift")
    parser.add_argument("--fps", type=float, metavar="HZ", help="normal frames a second, for --alarms-per-minute")
    parser.add_argument("--min-pixels", type=int, metavar="N", help="pixels that make an alarm")
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--out", type=Path, metavar="DIR", help="write a copy of the bundle with the thresholds, named as DIR is"
    )
    place.add_argument("--in-place", action="store_true", help="change the bundle, also one that ships with m2a")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
    from m2a_core.evaluation import calibration
    from m2a_core.evaluation.instance_seeds import by_scores_alone

    if args.min_pixels is not None and args.min_pixels < 1:
        raise ConfigError(f"--min-pixels: expected at least 1, got {args.min_pixels}")
    tpr = _TPR if args.tpr is None else args.tpr
    calibration.check_tpr(tpr)
    labelled, normal = sources(args)
    if not labelled:
        refuse(args, ("tpr",), "only with labelled frames that give a threshold; here all frames are taken for normal")
    if args.frame_fpr is not None:
        calibration.require_frames(len(normal), args.frame_fpr)
    if args.alarms_per_minute is not None:
        calibration.require_minutes(len(normal), args.fps, args.alarms_per_minute)
    if args.drift:
        _require_profile(len(normal))
    bundle = load_bundle(args.model or DEFAULT_MODEL)
    like = None if args.like is None else load_bundle(args.like)
    _check_place(args, bundle)
    check_readable([*labelled, *normal], anomalies=bool(labelled))
    perception = by_scores_alone(bundle)
    figures: list[np.ndarray] = []
    found, quiet = (_score(perception, frames, args.min_pixels, figures) for frames in (labelled, normal))
    perception.close()
    wanted = None if like is None else _at_own_thresholds(like, normal, args.min_pixels)

    chosen: dict[str, float] = {}
    if like is not None and wanted is not None:
        chosen["extent"] = by_share(args.like, np.concatenate(quiet["refined"].sample), wanted["extent"])
        chosen["refined"] = by_instances(bundle, like, [read for _, read, _ in normal], chosen["extent"])
    for name in () if args.drift else [name for name in _FOUND if name not in chosen]:
        if normal and (name == "refined" or not labelled):
            alarms = np.array(quiet[name].alarms, np.float32)
            chosen[name] = (
                _by_rate(args, name, alarms) if wanted is None else by_count(args.like, name, alarms, wanted[name])
            )
        elif name == "anomaly":
            chosen[name] = calibration.threshold_at_tpr(np.concatenate(found[name].anomalous), tpr)
            print(f"{name:8s} threshold {chosen[name]:.6g}: finds {100 * tpr:g} % of the anomalous pixels")
    if args.frame_fpr is not None:
        needed = calibration.frames_needed(args.frame_fpr)
        print(f"this guarantee needs at least {needed} normal frames; {len(normal)} were given")
    old = bundle.manifest
    for name in _FOUND:
        before = getattr(old.thresholds, name)
        values = {"before": before, "now": chosen[name]} if name in chosen else {"kept": before}
        for when, value in values.items():
            for kind, scored in (("labelled", found[name]), ("normal", quiet[name])):
                if scored.alarms:
                    print(f"{name:8s} {when:6s} {value:.6g}: {scored.at(value).describe(kind)}")
    updated = replace(old, scores=_profile(np.array(figures), old.scores))
    if not args.drift:
        measured = {"calibration_frames": float(len(labelled) + len(normal))}
        rates = {"tpr": tpr if labelled else None, "frame_fpr": args.frame_fpr}
        for key, rate in (rates | {"alarms_per_minute": args.alarms_per_minute}).items():
            measured |= {} if rate is None else {f"calibration_{key}": rate}
        others = {key: value for key, value in old.metrics.items() if not key.startswith("calibration_")}
        updated = replace(updated, thresholds=replace(old.thresholds, **chosen), metrics={**others, **measured})
    print(f"stored in {_store(bundle, updated, args.out)}")
    return 0


def _require_profile(frames: int) -> None:
    from m2a_core.stream.drift import LEAST_FRAMES

    if frames < LEAST_FRAMES:
        raise ConfigError(f"--drift: expected at least {LEAST_FRAMES} frames, got {frames}; take them from many drives")


def _profile(figures: np.ndarray, before: ScoreProfile | None) -> ScoreProfile | None:
    """What answers look like on these frames; the one before where they are too few."""
    from m2a_core.stream import drift

    if len(figures) < drift.LEAST_FRAMES:
        watched = "not watched" if before is None else "watched as before"
        print(f"drift    {watched}: a profile takes {drift.LEAST_FRAMES} frames, {len(figures)} were given")
        return before
    profile = drift.fit(figures)
    print(
        f"drift    watched: a camera drifts where most of {drift.WINDOW} frames are farther than {profile.limit:.3g} "
        "from these, as 5 % of them are"
    )
    return profile


def _by_rate(args: argparse.Namespace, name: str, alarms: np.ndarray) -> float:
    """The threshold that keeps false alarms to the wanted rate."""
    from m2a_core.evaluation import calibration

    if args.frame_fpr is None:
        found = calibration.minute_threshold(alarms, args.fps, args.alarms_per_minute)
        print(
            f"{name:8s} threshold {found.threshold:.6g}: {found.events} false alarms in {found.minutes:.2f} minutes, "
            f"{found.events / found.minutes:.2f} a minute (with 95 % confidence at most {found.bound():.2f})"
        )
        return found.threshold
    guarantee = calibration.conformal_threshold(alarms, args.frame_fpr)
    print(
        f"{name:8s} threshold {guarantee.threshold:.6g}: at most {100 * guarantee.rate:g} % of normal frames raise an "
        f"alarm ({guarantee.alarms} of these {guarantee.frames} do; with 95 % confidence at most "
        f"{100 * guarantee.bound():.2f} %)"
    )
    return guarantee.threshold


def _at_own_thresholds(
    bundle: ModelBundle, frames: Sequence[CalibrationFrame], min_pixels: int | None
) -> dict[str, float]:
    """``anomaly``: how many frames raise an alarm with a bundle; ``extent``: the share of pixels that reach it."""
    from m2a_core.evaluation.instance_seeds import by_scores_alone

    perception = by_scores_alone(bundle)
    scored = _score(perception, frames, min_pixels, [])
    perception.close()
    own = bundle.manifest.thresholds
    share = float(np.mean(np.concatenate(scored["refined"].sample) >= own.extent))
    return {"anomaly": scored["anomaly"].at(own.anomaly).alarms, "extent": share}


def _score(
    perception: Perception, frames: Sequence[CalibrationFrame], min_pixels: int | None, figures: list[np.ndarray]
) -> dict[str, ScoredFrames]:
    """What the thresholds need of the scores of frames, by threshold; ``figures`` takes what drift is told by."""
    from m2a_core.evaluation.threshold_costs import ScoredFrames
    from m2a_core.progress import ProgressBar
    from m2a_core.stream import drift
    from m2a_core.types import Frame, Output

    scored = {name: ScoredFrames(share) for name, share in _FOUND.items()}
    for path, read, truth in ProgressBar(frames, unit="frame", disable=not frames):
        image = read()
        result, network = perception.infer_raw(Frame(image), frozenset({Output.SCORE, Output.REFINED}), raw=False)
        figures.append(drift.features(network, perception.seen_size(image.shape[0], image.shape[1])))
        mask = np.zeros(image.shape[:2], np.uint8) if truth is None else truth()
        pixels = min_pixels or max(1, round(perception.manifest.thresholds.min_area * mask.size))
        for name, score in (("anomaly", result.score), ("refined", result.refined)):
            assert score is not None
            try:
                scored[name].add(score, mask, pixels)
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
    return scored


def _check_place(args: argparse.Namespace, bundle: ModelBundle) -> None:
    """What would be written may be written; asked before the network runs.

    Raises:
        ConfigError: the bundle is m2a's own and nobody asked to change it, or --out holds something else.
    """
    from m2a_core.bundle.loading import engine_directories
    from m2a_core.bundle.manifest import FILE_NAME, Manifest

    if args.out is None:
        shipped = any(bundle.directory.resolve().parent == place.resolve() for place in engine_directories())
        if shipped and not args.in_place:
            raise ConfigError(
                f"{bundle.directory} ships with m2a: give --out DIR for a calibrated copy, or --in-place to change it"
            )
        return
    if args.out.resolve() == bundle.directory.resolve():
        raise ConfigError(f"--out {args.out}: is the bundle itself; give another folder, or --in-place to change it")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder for the bundle")
    if args.out.is_dir() and any(args.out.iterdir()):
        own = args.out / FILE_NAME
        if not own.is_file() or Manifest.load(own).onnx_sha256 != bundle.manifest.onnx_sha256:
            raise ConfigError(f"--out {args.out}: holds other files; give a new or an empty folder")


def _copied(bundle: ModelBundle, file: Path) -> bool:
    """Whether a file goes into a copy: a link in a foreign bundle must not bring this machine's files into it.

    What is named by its hash is what was meant, wherever it lies.
    """
    from m2a_core.bundle import signing
    from m2a_core.bundle.manifest import FILE_NAME

    if not file.is_file() or file.name in (FILE_NAME, signing.FILE_NAME):
        return False
    inside = file == bundle.onnx_path or file.resolve().is_relative_to(bundle.directory.resolve())
    if not inside:
        print(f"{file}: is a link out of the bundle, not copied")
    return inside


def _store(bundle: ModelBundle, manifest: Manifest, out: Path | None) -> Path:
    """Write the manifest, into a copy of the bundle where one is wanted; returns the manifest's path."""
    from m2a_core.bundle import signing
    from m2a_core.bundle.manifest import FILE_NAME

    path = (out or bundle.directory) / FILE_NAME
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for file in bundle.directory.iterdir():
                if _copied(bundle, file):
                    shutil.copyfile(file, out / file.name)
            manifest = replace(manifest, name=out.resolve().name)
        with replaced(path) as partial:
            partial.write_text(manifest.to_json(), encoding="utf-8")
            if signing.remove_signature(path.parent):
                print("the bundle's signature no longer holds and was removed; sign it again with `m2a bundle sign`")
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be written ({error.strerror}); give --out DIR for a calibrated copy elsewhere"
        ) from error
    return path
