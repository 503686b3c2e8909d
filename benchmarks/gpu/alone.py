"""One step in a process of its own, for tools that watch a process: python -m benchmarks.gpu.alone LIBRARY cases|layer.

`cases` runs the case table forward and backward and fails where a case does; `layer` runs the kernel once on the layer
of ResNet-50 at 512x1024 in FP16.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import torch

from benchmarks.gpu.kernel_steps import check_cases, check_gradients, layer_inputs
from benchmarks.gpu.timing import Device
from m2a_core.ops.kernel_library import KernelLibrary
from test.ops.cases import POINTS

LAYER = (((16, 32), (32, 64), (64, 128)), 8, 32)


def main() -> int:
    """Run; the exit status says whether all was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("what", choices=("cases", "layer"))
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    library, device = KernelLibrary(args.library), Device(args.device)
    if args.what == "cases":
        rows = itertools.chain(check_cases(library, device), check_gradients(library, device))
        wrong = [row for row in rows if not row["ok"]]
        print(wrong)
        return bool(wrong)
    shapes, heads, dim = LAYER
    inputs = [x.to(device.name).half() for x in layer_inputs(shapes, heads, dim, torch.Generator().manual_seed(0))]
    library.forward(*inputs, [side for shape in shapes for side in shape], POINTS, device.stream()).cpu()
    return 0


if __name__ == "__main__":
    sys.exit(main())
