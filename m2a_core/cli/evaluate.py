"""Score a model on a benchmark, or any method's score maps against ground truth.

two ways:
  m2a evaluate --dataset NAME --root DIR --model NAME_OR_PATH --json OUT.json
  m2a evaluate --pred DIR --gt DIR --json OUT.json

Score maps: .npz (key "anomaly"), .npy, 32-bit TIFF, or 16-bit PNG (read as 0..1); higher = more anomalous.
Ground truth: 0 known, 1 anomaly, 255 void.
Files of a frame share their name up to the suffix and endings such as _labels_semantic.

OUT.json holds auprc, fpr95, auroc, f1_star, siou, ppv (fractions), n_frames, n_pixels and their thresholds. OUT.html
beside it is the report. All frames are pooled. Pixel figures are exact (scikit-learn's). With --track, and for the
SMIYC data sets, they are those of the SMIYC code, which bins scores. OUT.json always holds both.

Run a stopped evaluation again and it continues: partial results are in OUT.work, which is removed at the end. A frame
that cannot be scored is named and left out, and the exit code is 2; fix the file and run again. The exit code is also
2 if the set is too poor for a figure: no anomalous pixel, no labelled pixel, or a class that occurs nowhere.

examples:
  m2a evaluate --pred out/scores --gt dataset_AnomalyTrack/labels_masks --track anomaly --json ra21.json
  m2a evaluate --dataset smiyc_obstacle --root dataset_ObstacleTrack --model m2a-edge --json ro21.json
  m2a evaluate --dataset folder --root my_drive --scores all --json my_drive.json
  m2a evaluate --dataset own --root my_data --model engines/own --json own.json
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2a_core.errors import ConfigError, DataError
from m2a_core.files import write_json

if TYPE_CHECKING:
    from m2a_core.bundle.manifest import Manifest

HELP = "score a model on a benchmark, or score maps against ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    source = parser.add_argument_group("a folder of score maps")
    source.add_argument("--pred", type=Path, metavar="DIR", help="score maps")
    source.add_argument("--gt", type=Path, metavar="DIR", help="ground truth")
    source.add_argument(
        "--key",
        metavar="NAME",
        help="array of the .npz files (default: anomaly; `m2a predict` writes anomaly and refined)",
    )
    source.add_argument("--images", type=Path, metavar="DIR", help="camera images, only for the report's pictures")
    model = parser.add_argument_group("a model on a benchmark")
    model.add_argument("--dataset", metavar="NAME", help="a benchmark; names and layouts: docs/datasets.md")
    model.add_argument("--root", type=Path, metavar="DIR", help="its folder")
    model.add_argument(
        "--format",
        metavar="NAME",
        help="of --dataset own: as data.format of a training configuration (default: folder)",
    )
    model.add_argument("--classes", metavar="FILE", help="of --dataset own: in ROOT, or a path (default: classes.yaml)")
    model.add_argument("--model", metavar="NAME_OR_PATH", help="a model bundle (default: the one that ships)")
    model.add_argument(
        "--scores",
        "--score",
        metavar="NAME,...",
        help="anomaly scores to compare on the same outputs, the first one in full: refined (what the model decides "
        "by, default), anomaly (Eq. 7), background (Eq. 17), refined_road, refined_anomaly, refined_background, "
        "msp, max_logit, entropy, energy, rba, eam, aem, maskomaly, void_classifier; or 'all'",
    )
    model.add_argument(
        "--region",
        choices=("scene", "road"),
        help="where unknown objects count: road takes refined_road for refined, the score lowered away from the "
        "model's own road surface, for obstacles on it (default: scene)",
    )
    model.add_argument(
        "--horizon",
        choices=("on", "off"),
        help="refined, anomaly and background with the second look at the road's far end, or of one look as all other "
        "scores are (default: on)",
    )
    model.add_argument(
        "--submission",
        type=Path,
        metavar="DIR",
        help="only write the SMIYC submission files (HDF5, float16) of all of the benchmark's images into DIR",
    )
    parser.add_argument(
        "--track",
        choices=("anomaly", "obstacle"),
        help="score as this SMIYC track: its component sizes, pixel figures of its code (default: the data set's own "
        "sizes, else anomaly's, and exact pixel figures)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="components are pixels with score > T (default: best F1 on the SMIYC code's PR curve)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="where to write the figures")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads that score pixels against ground truth (default: as many as cores, at most 4)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    from m2a_core.cli.evaluate_options import check_mode

    if args.workers is not None and args.workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {args.workers}")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise ConfigError(f"--threshold: expected a finite score, got {args.threshold}")
    check_mode(args)
    action = _run_folder if args.pred else _run_submission if args.submission else _run_model
    try:
        return action(args)
    except OSError as error:
        where = error.filename2 or error.filename or args.submission or args.json
        # NumPy's own say how many values were written, and nothing of the disk.
        reason = error.strerror or f"cannot be written ({error}): is the disk full?"
        raise DataError(f"{where}: {reason}; finished work is kept, the same call goes on") from error


def _default_workers() -> int:
    return min(4, os.cpu_count() or 1)


def _run_folder(args: argparse.Namespace) -> int:
    from m2a_core.cli.evaluate_output import conclude, output_files
    from m2a_core.data.files import pair_folders
    from m2a_core.evaluation import unmeasured
    from m2a_core.evaluation.evaluator import evaluate_pairs
    from m2a_core.evaluation.pictures import folder_pictures
    from m2a_core.evaluation.report import write_report
    from m2a_core.evaluation.work_folder import claim
    from m2a_core.metrics.component import Track

    out, work = output_files(args)
    pairs, missing = pair_folders(args.pred, args.gt, args.key)
    claim(work)
    track, by_benchmark = Track(args.track or "anomaly"), args.track is not None
    workers = args.workers or _default_workers()
    evaluation = evaluate_pairs(pairs, work, track, args.threshold, workers, missing, by_benchmark=by_benchmark)
    undefined = unmeasured.of_anomalies(evaluation, args.threshold is not None)
    figures = {**evaluation.to_json(), "undefined": undefined, "pred": str(args.pred), "gt": str(args.gt)}
    write_json(out, figures)
    write_report(out.with_suffix(".html"), str(args.pred), evaluation, figures, folder_pictures(pairs, args.images))
    return conclude(out, work, figures, evaluation)


def _run_model(args: argparse.Namespace) -> int:
    from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
    from m2a_core.cli.evaluate_options import check_dataset
    from m2a_core.cli.evaluate_output import COMPARED, conclude, output_files
    from m2a_core.data.catalog import open_dataset
    from m2a_core.evaluation import classes, unmeasured
    from m2a_core.evaluation.evaluator import evaluate_pairs
    from m2a_core.evaluation.pictures import ClassPictures, model_pictures
    from m2a_core.evaluation.predict import Outputs, Scorer, class_view, predict_dataset
    from m2a_core.evaluation.report import write_report
    from m2a_core.evaluation.work_folder import claim
    from m2a_core.metrics.component import Track
    from m2a_core.perception import Perception

    out, work = output_files(args)
    scores = _scores(args)
    own = {key: value for key, value in (("kind", args.format), ("classes", args.classes)) if value is not None}
    dataset = open_dataset(args.dataset, args.root, **own)
    check_dataset(args, dataset)
    name = args.model or DEFAULT_MODEL
    bundle = load_bundle(name)
    if dataset.classes is not None and dataset.anomaly is None:
        class_view(bundle.manifest.labels, dataset)
    manifest = bundle.manifest
    model_key = f"{manifest.onnx_sha256}|{manifest.decision.value}|{manifest.thresholds}"
    horizon = args.horizon != "off"
    key = f"{model_key}|{'on' if horizon else 'off'}|{scores}|{dataset.name}|{args.root.resolve()}"
    outputs = Outputs(work / hashlib.sha256(key.encode()).hexdigest()[:16])
    perception = Perception.load(name, spin=True, horizon=horizon)
    scorer = Scorer(perception, scores)
    claim(work)
    failed = predict_dataset(dataset, scorer, outputs)

    figures: dict[str, Any] = {"dataset": dataset.name, "model": bundle.manifest.name, "score": scores[0]}
    evaluation, undefined = None, []
    if dataset.anomaly is not None:
        score_all = partial(
            evaluate_pairs,
            work=work / "pixels",
            track=Track(args.track or dataset.track),
            workers=args.workers or _default_workers(),
            missing=failed,
            by_benchmark=args.track is not None or dataset.by_benchmark,
        )
        evaluation = score_all(outputs.pairs(dataset.samples), threshold=args.threshold)
        figures |= evaluation.to_json()
        undefined += unmeasured.of_anomalies(evaluation, args.threshold is not None)
        figures["model_threshold"] = _mask_threshold(bundle.manifest, scores[0])
        if len(scores) > 1:
            # A threshold belongs to one score's scale: the others take theirs by the rule.
            further = {s: score_all(outputs.pairs(dataset.samples, s), label=f"{s} ").to_json() for s in scores[1:]}
            figures["scores"] = {s: {k: of[k] for k in COMPARED} for s, of in {scores[0]: figures, **further}.items()}
    labels = bundle.manifest.labels
    class_pictures = None
    if dataset.view(labels) is not None:
        class_pictures = ClassPictures(dataset, labels, outputs)
        figures |= classes.semantic_figures(dataset, labels, outputs, failed)
        undefined += unmeasured.of_classes(figures, dataset)
        if dataset.anomaly is not None:
            figures |= classes.open_iou_figures(dataset, labels, outputs, failed)
            undefined += unmeasured.of_open_iou(figures)
    if dataset.panoptic is not None:
        figures |= classes.panoptic_figures(dataset, labels, outputs, failed)
        undefined += unmeasured.of_segments(figures, dataset)
    if failed.keys() >= {sample.name for sample in dataset.samples}:
        raise DataError(f"none of {len(failed)} frames could be scored; the first: {next(iter(failed.values()))}")
    figures["failed"] = figures.get("failed", {}) | failed
    figures["undefined"] = undefined
    figures.setdefault("n_frames", len(dataset.samples) - len(failed))
    write_json(out, figures)
    pictures = model_pictures(dataset, outputs, perception, scores[0])
    title = f"{bundle.manifest.name} on {dataset.name}"
    write_report(out.with_suffix(".html"), title, evaluation, figures, pictures, class_pictures)
    perception.close()
    return conclude(out, work, figures, evaluation)


def _mask_threshold(manifest: Manifest, score: str) -> float | None:
    """From which value of a score the model's own mask is unknown; None for a score that does not decide it."""
    from m2a_core.bundle.decision import Decision

    decides = "refined" if manifest.decision is Decision.BACKGROUND else "anomaly"
    return manifest.thresholds.anomaly if score == decides else None


def _scores(args: argparse.Namespace) -> tuple[str, ...]:
    """The wanted scores, in the wanted region."""
    from m2a_core.evaluation.predict import parse_scores

    names = parse_scores("refined" if args.scores is None else args.scores)
    if args.region == "road":
        names = tuple(dict.fromkeys("refined_road" if name == "refined" else name for name in names))
    return names


def _run_submission(args: argparse.Namespace) -> int:
    from m2a_core.bundle.loading import DEFAULT_MODEL
    from m2a_core.data.anomaly import smiyc
    from m2a_core.evaluation.predict import Scorer
    from m2a_core.evaluation.submission import write_submission
    from m2a_core.perception import Perception

    if args.dataset not in ("smiyc_anomaly", "smiyc_obstacle"):
        raise ConfigError(f"--submission: SMIYC's format is for smiyc_anomaly and smiyc_obstacle, not '{args.dataset}'")
    scores = _scores(args)
    if len(scores) > 1:
        raise ConfigError(f"--submission: holds one score; --scores names {len(scores)}")
    dataset = smiyc(args.root, args.dataset.removeprefix("smiyc_"), "all")
    perception = Perception.load(args.model or DEFAULT_MODEL, spin=True, horizon=args.horizon != "off")
    folder = write_submission(dataset, Scorer(perception, scores), args.submission)
    perception.close()
    print(f"{len(dataset.samples)} files in {folder}")
    return 0
