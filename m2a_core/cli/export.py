"""Turn trained weights into a model bundle: one ONNX graph with its manifest, compared with PyTorch on real frames.

OUT/ receives <name>.onnx, <name>.safetensors and manifest.json, where <name> is OUT's last part; nothing is written
unless the graph agrees with PyTorch on the frames. If OUT already has a manifest, thresholds, decision and licence
that are not given are kept from it; its measured figures are not. `m2a calibrate` can choose thresholds afterwards.
Weights that were trained further begin with those of their old bundle: --thresholds m2a-edge.
With --camera, OUT.WIDTHxHEIGHT/ is a second bundle, whose graph takes a camera's own images of that size: letterbox,
colours and the open-set mask at that size are in the graph. It saves time only on an accelerator.

example:
  m2a export --weights runs/m2a-edge/m2a-edge.safetensors --model m2a-edge --size 320x576 \\
      --frames drive/ --thresholds thresholds.json --license "research use" --out engines/m2a-edge
where thresholds.json holds for example the scores at 95 % true-positive rate: {"anomaly": 0.31, "refined": 0.28}
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.loading import load_bundle, shipped_frames
from m2a_core.bundle.manifest import FILE_NAME, Manifest, Thresholds
from m2a_core.cli.predict import find_images
from m2a_core.errors import ConfigError, ModelError
from m2a_core.export.notes import BundleNotes
from m2a_core.images import read_image

HELP = "write a model bundle (ONNX and manifest) from trained weights"
EXTRA = "export"

_VERIFY_FRAMES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="safetensors file of `m2a train`")
    parser.add_argument("--model", required=True, metavar="NAME", help="network that the weights were trained for")
    parser.add_argument("--size", required=True, metavar="HxW", help="input size in pixels, multiples of 4: 320x576")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle, e.g. engines/m2a-edge")
    parser.add_argument(
        "--frames",
        nargs="+",
        metavar="IMAGE",
        help=f"real images to verify on: files, directories or patterns; {_VERIFY_FRAMES} of them are used (default: "
        "the demo's)",
    )
    parser.add_argument(
        "--thresholds",
        metavar="JSON_OR_BUNDLE",
        help="scores at 95 %% true-positive rate and other thresholds; or the bundle that training began with, whose "
        "thresholds and decision are taken",
    )
    parser.add_argument("--metrics", type=Path, metavar="JSON", help="measured figures by name, for the manifest")
    parser.add_argument("--license", metavar="TEXT", help="licence terms of the weights, for the manifest")
    parser.add_argument(
        "--score-order",
        choices=("paper", "fast"),
        default="fast",
        help="paper: upsample mask logits, then sigmoid and sum; fast: sum at the masks' size (default: %(default)s)",
    )
    parser.add_argument(
        "--refinement", choices=("paper", "official"), default="paper", help="variant of Eq. 15 (default: %(default)s)"
    )
    parser.add_argument(
        "--decision",
        choices=[decision.value for decision in Decision],
        help="the score that decides what is unknown; the graph holds both (default: that of OUT's manifest, else "
        "background; with --refinement official the authors', anomaly)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "mixed"),
        default="fp32",
        help="precision of the graph's tensors; mixed: half precision except for norms, softmax and the open-set maps "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="the graph takes 1 to N images, each batch size verified on the frames (default: %(default)s)",
    )
    parser.add_argument("--full-masks", action="store_true", help="also give every query's mask at the input's size")
    parser.add_argument(
        "--camera",
        metavar="WIDTHxHEIGHT",
        help="also write the bundle OUT.WIDTHxHEIGHT, whose graph takes a camera's own images of this size",
    )
    parser.add_argument(
        "--camera-encoding",
        choices=("rgb8", "bgr8"),
        default="rgb8",
        help="encoding of that image (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Export, verify, write."""
    size = parse_size(args.size)
    camera = None if args.camera is None else parse_camera(args.camera)
    paths = find_images(args.frames or [str(shipped_frames())])
    previous = _previous(args.out, args.thresholds is not None)
    notes = manifest_notes(args, previous)

    from m2a_core.export.bundle_writer import export_bundle
    from m2a_core.export.network import ExportedNetwork
    from m2a_core.export.onnx_export import ExportOptions
    from m2a_core.export.weights import load_trained
    from m2a_core.metrics.parity import Parity
    from m2a_core.openset.refinement import Refinement
    from m2a_core.progress import stages

    options = ExportOptions(args.precision, args.batch)
    frames = [read_image(path) for path in paths[:: max(1, len(paths) // _VERIFY_FRAMES)][:_VERIFY_FRAMES]]
    with stages("export") as say:
        say("loading the weights")
        model, trained = load_trained(args.weights, args.model)
        network = ExportedNetwork(model, size, args.score_order, Refinement(args.refinement), args.full_masks)
        report = export_bundle(network, args.weights, frames, args.out, notes, trained, options, say)
        if camera is not None:
            from m2a_core.export.camera_graph import write_camera_bundle

            say(f"writing the bundle of a camera of {args.camera}")
            camera_out, equal = write_camera_bundle(load_bundle(args.out), camera, args.camera_encoding, frames)
    print(f"verified on {len(frames)} frames:")
    if isinstance(report, Parity):
        print(f"  {report.describe()}")
    for entry in () if isinstance(report, Parity) else report:
        print(
            f"  {entry.name:14} max error {entry.max_error:.1e}  90 % within {entry.typical_error:.1e}  "
            f"equal {entry.equal:.3%}"
        )
    if camera is not None:
        print(f"  {camera_out.name}: at least {equal:.2%} of a frame's pixels are as the CPU has them")
    print(f"written to {args.out}" + (f" and {camera_out}" if camera is not None else ""))
    if args.thresholds is None and previous is None:
        print(
            f"m2a: warning: the thresholds are placeholders; choose them with `m2a calibrate --model {args.out} ...`",
            file=sys.stderr,
        )
    return 0


def _previous(out: Path, has_thresholds: bool) -> Manifest | None:
    """The manifest that OUT has, which what is not given is kept from; a damaged one holds nothing up but guesses."""
    path = out / FILE_NAME
    if not path.exists():
        return None
    try:
        return Manifest.load(path)
    except ModelError as error:
        if not has_thresholds:
            raise ConfigError(f"{error}. Its thresholds would be kept: give others with --thresholds") from error
        print(f"m2a: warning: {error}. Its decision and licence are not kept", file=sys.stderr)
        return None


def manifest_notes(args: argparse.Namespace, previous: Manifest | None) -> BundleNotes:
    """What the manifest will say: as given, else as it was, else a placeholder; figures only as given.

    Raises:
        ConfigError: a JSON file cannot be read or its entries do not fit.
        ModelError: the bundle whose thresholds are wanted cannot be loaded.
    """
    usual = Decision.ANOMALY if args.refinement == "official" else Decision.BACKGROUND
    given = None if args.thresholds is None else Path(args.thresholds)
    if given is not None and given.suffix != ".json":
        previous, given = load_bundle(args.thresholds).manifest, None
    old = previous.thresholds if previous else None
    thresholds = _thresholds(given, old) if given else old
    return BundleNotes(
        thresholds=thresholds or Thresholds(anomaly=0.5, refined=0.5),
        decision=Decision(args.decision) if args.decision else previous.decision if previous else usual,
        license=args.license or (previous.license if previous else "not stated"),
        metrics=_numbers(args.metrics) if args.metrics else {},
    )


def parse_size(text: str) -> tuple[int, int]:
    """Read ``HxW``.

    Raises:
        ConfigError: not two positive numbers with an x between.
    """
    return _two_numbers(text, f"size '{text}': expected HEIGHTxWIDTH in pixels, e.g. 320x576")


def parse_camera(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``, as cameras are named; gives height and width.

    Raises:
        ConfigError: not two positive numbers with an x between.
    """
    width, height = _two_numbers(text, f"camera '{text}': expected WIDTHxHEIGHT in pixels, e.g. 1920x1080")
    return height, width


def _two_numbers(text: str, complaint: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise ConfigError(complaint)
    return int(match[1]), int(match[2])


def _thresholds(path: Path, old: Thresholds | None) -> Thresholds:
    values = _numbers(path)
    try:
        return replace(old, **values) if old else Thresholds(**values)
    except TypeError as error:
        raise ConfigError(f"{path}: thresholds do not fit ({error})") from error


def _numbers(path: Path) -> dict[str, float]:
    """A JSON object of numbers."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(data, dict) or not all(map(_is_number, data.values())):
        raise ConfigError(f"{path}: expected a JSON object of finite numbers by name")
    return {key: float(value) for key, value in data.items()}


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
