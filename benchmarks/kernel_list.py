"""Final kernels of an engine and what each reads and writes, without a GPU.

TensorRT for RTX builds ahead of time on a CPU and, at detailed verbosity, lists the kernels it ends with. Its engines
are not those of TensorRT proper, and other architectures fuse otherwise: the list shows what a change of the graph
does, not how fast a Jetson is.

  python benchmarks/kernel_list.py engines/m2a-edge/m2a-edge.onnx --precision fp16 --top 10
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from m2a_core.errors import ModelError
from m2a_core.trt.backend import TENSORRT_RTX, load_backend
from m2a_core.trt.plugin_build import ensure_plugin
from m2a_core.trt.source import PRECISIONS, for_parser, read_source

_BYTES = {"Half": 2, "BFloat16": 2, "Float": 4, "Int32": 4, "Int64": 8, "Bool": 1, "UInt8": 1, "Int8": 1}
_LINE = re.compile(
    r"Name: (?P<name>[^,]+), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: \[.*?"
    r"\], Outputs: \[(?P<outputs>.*?)\], TacticName"
)
_TENSOR = re.compile(r"Name: ([^,]+), Dimensions: \[([\d,]*)\].*?Datatype: (\w+)")


@dataclass(frozen=True)
class Kernel:
    """One launch.

    Attributes:
        name: TensorRT's.
        kind: TensorRT's, such as ``gemm``, ``correlation`` (a convolution), ``kgen`` (generated) or ``custom_layer``
            (a plugin).
        inputs: name and bytes of each activation that it reads; weights are not among them.
        outputs: name and bytes of each that it writes.
    """

    name: str
    kind: str
    inputs: list[tuple[str, int]]
    outputs: list[tuple[str, int]]

    @property
    def bytes(self) -> int:
        """Read and written."""
        return sum(size for _, size in self.inputs + self.outputs)


def list_kernels(graph: Path, precision: str, plugin: Path, architecture: str = "sm89") -> list[Kernel]:
    """Build an engine and read what it consists of, in order.

    Args:
        graph: of `m2a export`.
        precision: ``fp32``, ``fp16`` or ``int8``.
        plugin: the plugin's library.
        architecture: one that TensorRT for RTX builds for.

    Raises:
        ModelError: the graph is not ours, or the build fails.
    """
    backend = load_backend(TENSORRT_RTX)
    trt, said = backend.trt, []

    class Listener(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            said.append(message)

    listener = Listener()
    backend.load_plugin(plugin)
    builder = trt.Builder(listener)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, listener)
    if not parser.parse(for_parser(read_source(graph).for_engine(precision))):
        raise ModelError(f"{graph}: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    backend.aim(config, architecture)
    config.max_aux_streams = 0
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if builder.build_serialized_network(network, config) is None:
        raise ModelError(f"{graph}: {backend.name} {backend.version} cannot build it for {architecture}")
    return parse_kernels(said)


def parse_kernels(messages: Sequence[str]) -> list[Kernel]:
    """The kernels that TensorRT's messages list."""
    lines = (_LINE.match(line) for message in messages for line in message.splitlines())
    return [
        Kernel(line["name"], line["kind"], _sizes(line["inputs"]), _sizes(line["outputs"])) for line in lines if line
    ]


def _sizes(tensors: str) -> list[tuple[str, int]]:
    return [
        (name, prod(int(n) for n in dimensions.split(",") if n) * _BYTES[kind])
        for name, dimensions, kind in _TENSOR.findall(tensors)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp16")
    parser.add_argument("--capability", default="sm89", metavar="SM")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="show the N kernels that move most")
    args = parser.parse_args()
    kernels = list_kernels(args.onnx, args.precision, ensure_plugin(say=print), args.capability)
    print(f"{len(kernels)} kernels, {sum(k.bytes for k in kernels) / 1e6:.1f} MB of activations read and written")
    for kernel in sorted(kernels, key=lambda k: -k.bytes)[: args.top]:
        print(f"{kernel.bytes / 1e6:8.2f} MB  {kernel.kind:16} {kernel.name}")


if __name__ == "__main__":
    main()
