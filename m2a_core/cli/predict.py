"""Find known classes and unknown objects in images and videos; write maps as arrays and an overlay as a picture.

For every image, DIR/<stem>.npz holds the maps at the image's own size [H, W] (with --format npz, the default):
  refined            float32  the score that decides, higher = more anomalous. By the manifest's `decision`: B (Eq. 17)
                              halved in confident stuff (`background`), or R_M * f of Eq. 15 (`anomaly`)
  refined_road       float32  `refined`, lowered away from the road that the model sees: for obstacles on the road
  anomaly            float32  f of Eq. 7, as the paper prints it
  background         float32  B of Eq. 17
  semantic           uint8    closed-set class id
  open_set           uint8    class id, or the id after the last class for unknown; 255 = unlabelled
  panoptic           int32    class id * 256 + instance; 65535 = no segment
  unknown_instances  uint16   0 = none, else the instance's id
  horizon            int32    [4], x0, y0, x1, y1 of the window seen at twice the detail; only where one was
--raw adds the network's own tensors for the whole image (scaled to fit, padded right and below):
  class_logits       float32  [Q, K+1], last = "no object"
  mask_logits        float32  [Q, h, w], at a quarter of the network's input
The authors' code calls these pred_logits and pred_masks, and calls anomaly and refined its score and refined score.
DIR/<stem>_overlay.jpg shows classes, unknown areas and outlines of unknown objects, with a legend. It is always
written.

Other formats (--format), for other tools; class ids are the same:
  png          DIR/<stem>_<key>.png for every map above: scores as 16 bits, 0..65535 for 0..1; classes as 8 bits with
               a palette; panoptic and unknown_instances as 16 bits
  coco         DIR/panoptic.json and DIR/panoptic/<stem>.png: COCO panoptic; DIR/instances.json: known things and
               unknown objects as a COCO data set with run lengths; DIR/instances_results.json: the list for loadRes.
               Category id = class id + 1. Image ids are the numbers in the file names if every name has one, else
               1, 2, ... (needs pycocotools)
  supervision  DIR/<stem>_detections.npz: the unknown objects; keys xyxy, mask, confidence, class_id, tracker_id and
               class_name, as supervision.Detections(..., data={"class_name": ...}) takes them

A video file, a camera's index (0) or a URL that OpenCV opens (rtsp://...) gives DIR/<name>_overlay.webm and
DIR/<name>.jsonl: one line per frame with the tracked unknown objects (id, score, bbox, and with --calibration their
place in metres). Of a live source, m2a takes the latest frame and drops older ones; Ctrl-C ends it.

example:
  m2a predict photo.jpg --out predictions
  m2a predict drive.mp4 --calibration camera.yaml --mounting height=1.4 --out predictions
  m2a predict 0 --frames 300 --out webcam
  m2a predict drive/*.jpg --format coco --format png --out predictions
  m2a predict a.png --model r50-cityscapes --checkpoint best_contrastive.pth --size native --flip --raw --out out
  python -c "import numpy; print(numpy.load('predictions/photo.npz')['anomaly'].max())"
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.cli import predict_video, trust
from m2a_core.cli.given_options import refuse
from m2a_core.cli.predict_formats import FORMATS, ResultFiles, parse_formats
from m2a_core.data.nested import folder_files
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import result_stem
from m2a_core.images import SUFFIXES, read_image
from m2a_core.runtime.factory import BACKENDS
from m2a_core.stream.video_source import is_video, shown_source, source_name
from m2a_core.types import Frame

if TYPE_CHECKING:
    from m2a_core.perception import Perception
    from m2a_core.reference.perception import CheckpointPerception

HELP = "find known classes and unknown objects in images, videos and cameras"

_OF_BUNDLES = ("require_signature", "trusted_key", "horizon", "backend")
_OF_CHECKPOINTS = ("size", "flip", "refine", "attention", "decision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="INPUT",
        help="image file, directory or glob pattern; video file, camera index or stream URL",
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_PATH",
        help="name of a bundle, its directory or its .onnx file (default: %(default)s)",
    )
    trust.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; created if missing")
    parser.add_argument(
        "--format",
        type=parse_formats,
        action="extend",
        metavar="NAME[,NAME]",
        help=f"some of {', '.join(FORMATS)}, comma-separated, or repeat --format; for images (default: npz)",
    )
    parser.add_argument("--raw", action="store_true", help="also write class_logits and mask_logits")
    parser.add_argument(
        "--horizon",
        choices=("on", "off"),
        help="look a second time at a window at the far end of the road, where images hold more detail than the "
        "network's input; bundles only (default: on)",
    )
    parser.add_argument("--backend", choices=BACKENDS, help=f"of bundles (default: {BACKENDS[0]})")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    predict_video.add_arguments(parser)
    checkpoint = parser.add_argument_group(
        "a checkpoint instead of a bundle",
        "the PyTorch network with the authors' inference; --model then names the network. Nothing is calibrated: the "
        "open-set outputs use 0.5 as threshold.",
    )
    checkpoint.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="official, Mask2Former or Hugging Face checkpoint, or weights of `m2a train` or `m2a convert`",
    )
    checkpoint.add_argument(
        "--size",
        metavar="SIZE",
        help="native: as it is (default); official: shorter side 1024, longer at most 2048; HxW: fitted into H x W",
    )
    checkpoint.add_argument("--flip", action="store_true", help="average with the left-right flipped image's scores")
    checkpoint.add_argument(
        "--refine",
        choices=("paper", "official", "off"),
        help="variant of Eq. 15 (default: official for the authors' Cityscapes weights, else paper)",
    )
    checkpoint.add_argument(
        "--decision",
        choices=[decision.value for decision in Decision],
        help="the score that decides what is unknown (default: anomaly, the authors')",
    )
    checkpoint.add_argument(
        "--attention", choices=("global_masked", "masked", "cross"), help="kind of attention (default: the model's own)"
    )


def run(args: argparse.Namespace) -> int:
    """Predict every image; a bad one is named and skipped, and makes the exit code 2."""
    from m2a_core.progress import ProgressBar

    videos = list(dict.fromkeys(arg for arg in args.images if is_video(arg) and not Path(arg).is_dir()))
    _require_apart({arg: source_name(arg) for arg in videos}, ".jsonl")
    images = [argument for argument in args.images if argument not in videos]
    predict_video.check_arguments(args, bool(videos))
    names = named_images(images, args.out) if images else {}
    paths = list(names)
    formats = list(dict.fromkeys(args.format or ["npz"]))
    if args.raw and "npz" not in formats:
        raise ConfigError(f"--raw: goes into .npz files; add npz to --format {','.join(formats)}")
    perception = _load(args)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {args.out}: cannot make the directory ({error.strerror})") from error
    failures = 0
    with (
        ResultFiles(args.out, formats, names, perception.labels, args.raw) as files,
        ProgressBar(paths, unit="image", disable=not paths) as progress,
    ):
        for path in progress:
            try:
                _predict(perception, path, files)
            except DataError as error:
                failures += 1
                named = "" if str(path) in str(error) else f"{path}: "
                progress.write(f"m2a: error: {named}{error}", file=sys.stderr)
    if paths:
        print(f"{len(paths) - failures} of {len(paths)} images written to {args.out}")
    for video in videos:
        predict_video.predict_video(video, cast("Perception", perception), args)
    perception.close()
    return 2 if failures else 0


def find_images(arguments: Sequence[str]) -> list[Path]:
    """The images of ``named_images``; errors as there."""
    return list(named_images(arguments))


def named_images(arguments: Sequence[str], out: Path | None = None) -> dict[Path, Path]:
    """Turn files, directories and glob patterns into image files, in order, each path once (links are paths too).

    Args:
        arguments: the files, directories (see ``data.nested``) and patterns.
        out: folder for results, which are no images to find.

    Returns:
        File -> its path below the directory that was given, which its results are named by; else its name.

    Raises:
        DataError: an argument names nothing, or two files share a stem and would overwrite each other's results.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            listed = folder_files(path, SUFFIXES, out)
            matches = {match: match.relative_to(path) for match in listed.files}
            if listed.note:
                print(f"m2a: note: {listed.note}", file=sys.stderr)
        elif path.exists() or not glob.has_magic(argument):
            matches = {path: Path(path.name)} if path.is_file() else {}
        else:
            matches = {p: Path(p.name) for p in sorted(map(Path, glob.glob(argument, recursive=True))) if p.is_file()}
        if not matches:
            raise DataError(
                f"{argument}: no such image; expected a file, a directory with images or a glob pattern; `m2a "
                "replay` reads bags"
            )
        found.update({os.path.abspath(match): (match, name) for match, name in matches.items()})
    _require_apart({str(path): result_stem(name) for path, name in found.values()}, ".npz")
    return dict(found.values())


def _require_apart(stems: Mapping[str, str], suffix: str) -> None:
    """Refuse inputs whose results would overwrite each other's."""
    first: dict[str, str] = {}
    for given, stem in stems.items():
        other = first.setdefault(stem, given)
        if other != given:
            raise DataError(
                f"{shown_source(other)} and {shown_source(given)} would both be written as {stem}{suffix}; rename one "
                "or predict them in two calls with different --out"
            )


def _load(args: argparse.Namespace) -> Perception | CheckpointPerception:
    """The bundle's perception, or the checkpoint's."""
    if args.checkpoint is not None:
        refuse(
            args,
            _OF_BUNDLES,
            "only with a bundle; a checkpoint has no signature, no other backend than PyTorch and no second look at "
            "the road",
        )
        # By name, as commands are: torch stays out of what the running path can reach.
        perception: Perception | CheckpointPerception = import_module("m2a_core.cli.checkpoint").load_perception(args)
        return perception
    refuse(args, _OF_CHECKPOINTS, "only with --checkpoint; a bundle has its size and refinement built in")
    from m2a_core.perception import NO_ROAD, Perception

    horizon = args.horizon != "off"
    backend = args.backend or BACKENDS[0]
    perception = Perception.load(args.model, backend, args.threads, True, horizon, trust.asked_for(args))
    if horizon and perception.labels.road is None:
        print(f"m2a: note: model '{args.model}': {NO_ROAD}", file=sys.stderr)
    return perception


def _predict(perception: Perception | CheckpointPerception, path: Path, files: ResultFiles) -> None:
    image = read_image(path)
    result, network = perception.infer_raw(Frame(image, camera=path.name), raw=files.raw)
    files.write(path, image, result, network)
