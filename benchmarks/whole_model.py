"""One network, images in, logits or maps out, by everything that runs it here: sides taking turns in one process.

- ``eager``: PyTorch;
- ``compiled``: the same through ``torch.compile``;
- ``onnxruntime``: the bundle's graph, which also computes the open-set maps;
- ``tensorrt``, ``tensorrt_rtx``: the bundle's engine, where a GPU and an engine are.

    python benchmarks/whole_model.py --model m2a-edge --threads 2 --frames 20

Prints least and median milliseconds of a frame, and each side's ratio to eager; what cannot run is
named with its reason.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnxruntime
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

from benchmarks.bundle_network import bundle_network
from m2a_core.bundle.loading import DEFAULT_MODEL, ModelBundle, load_bundle
from m2a_core.errors import M2aError
from m2a_core.images import read_image
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from m2a_core.reference.network import MULTIPLE
from m2a_core.runtime.factory import BACKENDS, create_runtime

DEMO_FRAME = Path(__file__).parent.parent / "config" / "demo" / "frames" / "000.jpg"
WARM_UP = 3


def eager(bundle: ModelBundle, image: np.ndarray) -> tuple[torch.nn.Module, torch.Tensor]:
    """The bundle's network, and its input."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
    below, right = (-size % MULTIPLE for size in pixels.shape[1:])
    return bundle_network(bundle), torch.nn.functional.pad(((pixels - mean) / std)[None], (0, right, 0, below))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle with its .safetensors (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--frames", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bundle = load_bundle(args.model)
    sides: dict[str, Callable[[], object]] = {}
    for backend in BACKENDS:
        try:
            runtime = create_runtime(bundle, backend, args.threads)
        except M2aError as error:
            print(f"{backend}: not here: {error}")
            continue
        height, width = runtime.input_size
        image = cv2.resize(read_image(DEMO_FRAME), (width, height), interpolation=cv2.INTER_AREA)
        sides[backend] = partial(runtime.infer, image)
    model, pixels = eager(bundle, image)
    compiled = torch.compile(model)
    sides |= {"eager": lambda: model(pixels), "compiled": lambda: compiled(pixels)}
    took: dict[str, list[float]] = {name: [] for name in sides}
    with torch.inference_mode():
        for turn in range(WARM_UP + args.frames):
            for name, side in sides.items():
                start = time.perf_counter()
                side()
                if turn >= WARM_UP:
                    took[name].append(1e3 * (time.perf_counter() - start))
    print(
        f"{platform.machine()}, {args.threads} threads, PyTorch {torch.__version__}, ONNX Runtime "
        f"{onnxruntime.__version__}, {width}x{height}, {args.frames} frames"
    )
    for name, times in took.items():
        ratio = median(took["eager"]) / median(times)
        print(f"{name:12s} min {min(times):7.1f} median {median(times):7.1f} ms   {ratio:.2f} x eager")


if __name__ == "__main__":
    main()
