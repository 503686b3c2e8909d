"""ONNX Runtime's execution providers side by side on one graph: one thread each, frames taken in turns.

Times are the processor's, which other work on the machine stretches less than the clock's. Each side runs in a process
of its own, so that packages that are one Python module (onnxruntime, onnxruntime-openvino) may lie in virtual
environments of their own. Times of a GPU's provider would not be the GPU's.

  python benchmarks/provider_speed.py CPUExecutionProvider=.venv/bin/python OpenVINOExecutionProvider=ov/bin/python
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle

OPTIONS = {"OpenVINOExecutionProvider": {"device_type": "CPU", "num_of_threads": "1", "precision": "FP32"}}

SIDE = """
import sys, time
import numpy as np
import onnxruntime as ort
path, provider, options, height, width = sys.argv[1], sys.argv[2], eval(sys.argv[3]), *map(int, sys.argv[4:6])
settings = ort.SessionOptions()
settings.intra_op_num_threads = settings.inter_op_num_threads = 1
settings.log_severity_level = 3
session = ort.InferenceSession(path, settings, providers=[(provider, options)])
assert provider in session.get_providers(), session.get_providers()
image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
session.run(None, {"image": image})
print(ort.__version__, flush=True)
for _ in sys.stdin:
    start = time.process_time()
    session.run(None, {"image": image})
    print(time.process_time() - start, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sides", nargs="+", metavar="PROVIDER=PYTHON", help="the first is what others are compared with"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--frames", type=int, default=40)
    args = parser.parse_args()
    bundle = load_bundle(args.model)
    size = map(str, bundle.manifest.input_size)
    fixed = [str(bundle.onnx_path)], list(size)
    sides = {}
    for side in args.sides:
        provider, _, python = side.partition("=")
        command = [
            python or sys.executable,
            "-c",
            SIDE,
            *fixed[0],
            provider,
            repr(OPTIONS.get(provider, {})),
            *fixed[1],
        ]
        sides[provider] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    versions = {name: answer(side) for name, side in sides.items()}
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(args.frames):
        for name, side in sides.items():
            assert side.stdin is not None
            side.stdin.write("next\n")
            side.stdin.flush()
            took[name].append(float(answer(side)))
    first = next(iter(took.values()))
    for name, times in took.items():
        ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
        print(
            f"{name} of onnxruntime {versions[name]}: median {1e3 * statistics.median(times):.1f} ms, best "
            f"{1e3 * min(times):.1f} ms, {ratio:.2f} times as fast as the first"
        )


def answer(side: subprocess.Popen[str]) -> str:
    """The next line that a side prints."""
    assert side.stdout is not None
    line = side.stdout.readline().strip()
    if not line:
        raise SystemExit(f"a side ended: {side.args}")
    return line


if __name__ == "__main__":
    main()
