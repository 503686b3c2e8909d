"""Build a TensorRT engine of an exported graph, with m2a's plugin for the deformable attention, and verify it.

Beside OUT it writes OUT.json, which says what the engine was built from and for which GPU, and OUT.reference.npz,
frames that its first load on a GPU is compared with. An existing engine is kept if it fits. If it does not, the
command says what differs and stops; --rebuild replaces it. Without a GPU, --backend tensorrt_rtx builds for the
--capability given, and the engine is marked "not verified on device" until a vehicle first loads it.

examples:
  m2a build-engine engines/m2a-edge/m2a-edge.onnx --precision fp16 --frames drive/
  m2a build-engine engines/m2a-edge/m2a-edge.onnx --backend tensorrt_rtx --capability sm89 --out edge_sm89.engine
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from m2a_core.bundle.loading import shipped_frames
from m2a_core.cli.predict import find_images
from m2a_core.errors import ConfigError
from m2a_core.images import read_image

HELP = "build a TensorRT engine of an exported graph"
EXTRA = "trt"

_FRAMES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("onnx", type=Path, metavar="ONNX", help="graph of `m2a export` or `m2a quantize`")
    parser.add_argument(
        "--frames",
        nargs="+",
        metavar="IMAGE",
        help=f"real images for the parity gate: files, directories or patterns; {_FRAMES} of them are used (default: "
        "the demo's; preferably from the vehicle's own camera)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp16",
        help="fp16 keeps layer norms, softmax and the open-set maps in single precision; int8 needs a graph of "
        "`m2a quantize` (default: %(default)s)",
    )
    parser.add_argument("--size", metavar="HxW", help="size the graph must have been exported for")
    parser.add_argument(
        "--batch", default="1", metavar="N,...", help="batch sizes to tune for, e.g. 1,2,4 (default: %(default)s)"
    )
    parser.add_argument(
        "--backend", choices=("tensorrt", "tensorrt_rtx"), default="tensorrt", help="(default: %(default)s)"
    )
    parser.add_argument("--capability", metavar="SM", help="GPU to build for, e.g. sm89; default: the GPU here")
    parser.add_argument("--device", type=int, default=0, metavar="N", help="index of the GPU (default: %(default)s)")
    parser.add_argument(
        "--plugin",
        type=Path,
        metavar="SO",
        help="plugin library to build with (default: built once and kept); engines run with one that was built here",
    )
    parser.add_argument("--out", type=Path, metavar="PATH", help="the engine; default: beside ONNX")
    parser.add_argument(
        "--workspace",
        type=int,
        metavar="MIB",
        help="memory of the GPU that a layer may use beside its tensors, in MiB (default: a quarter of the GPU's)",
    )
    parser.add_argument("--rebuild", action="store_true", help="replace an engine that is another than asked for")


def run(args: argparse.Namespace) -> int:
    """Build, verify, write."""
    from m2a_core.cli.export import parse_size
    from m2a_core.runtime.trt_runtime import default_engine
    from m2a_core.trt.builder import BuildRequest, build_engine

    batches = parse_batches(args.batch)
    if args.workspace is not None and args.workspace < 1:
        raise ConfigError(f"workspace {args.workspace}: expected at least 1 MiB")
    size = parse_size(args.size) if args.size else None
    paths = find_images(args.frames or [str(shipped_frames())])
    frames = [read_image(path) for path in paths[:: max(1, len(paths) // _FRAMES)][:_FRAMES]]
    out = args.out or default_engine(args.onnx)
    request = BuildRequest(
        onnx=args.onnx,
        out=out,
        plugin=args.plugin,
        frames=frames,
        precision=args.precision,
        input_size=size,
        batches=batches,
        backend=args.backend,
        capability=args.capability,
        device=args.device,
        rebuild=args.rebuild,
        workspace=None if args.workspace is None else args.workspace * 2**20,
    )
    # At once, also into a file: the lines belong between the progress bars.
    build_engine(request, partial(print, flush=True))
    return 0


def parse_batches(text: str) -> tuple[int, ...]:
    """Read ``N,N,...``.

    Raises:
        ConfigError: not whole numbers with commas between.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"batch '{text}': expected whole numbers with commas between, such as 1,2,4") from error
