"""The graph an engine is built from: is it ours, does it fit what is asked, and in which precision is it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from m2a_core.bundle.graph_check import MAX_GRAPH_BYTES, require_whole
from m2a_core.contract.io_spec import INPUT, OUTPUTS
from m2a_core.contract.plugin import DOMAIN, OP_TYPE
from m2a_core.errors import ConfigError, ModelError
from m2a_core.files import read_regular
from m2a_core.trt.lowering import lower_argmax
from m2a_core.trt.precision import convert

PRECISIONS = ("fp32", "fp16", "int8")

_SUITS = {"fp32": ("fp32",), "fp16": ("fp32", "fp16", "mixed"), "int8": ("int8",)}
"""Precisions of graphs that an engine of each precision can be built from."""


@dataclass(frozen=True)
class SourceGraph:
    """An exported graph that was found to be ours.

    Attributes:
        path: where it lies.
        model: its contents.
        sha256: of the file.
        precision: that it was exported with.
        input_size: H, W.
        max_batch: it takes 1 to this many images.
        plugin_nodes: names of the nodes that the plugin replaces.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    precision: str
    input_size: tuple[int, int]
    max_batch: int
    plugin_nodes: tuple[str, ...]

    def check(self, size: tuple[int, int] | None, batches: tuple[int, ...], precision: str) -> None:
        """Compare with what is asked.

        Raises:
            ConfigError: another size, a larger batch, or a precision that this graph cannot give.
        """
        if size not in (None, self.input_size):
            raise ConfigError(
                f"{self.path}: exported for {_size(self.input_size)}, not {_size(size)}; a graph has one size, as "
                f"resizing one gives wrong masks: export it with `m2a export --size {_size(size)}`"
            )
        if not batches or min(batches) < 1 or len(set(batches)) != len(batches):
            raise ConfigError(f"batch {list(batches)}: expected different whole numbers from 1, such as 1,2,4")
        if max(batches) > self.max_batch:
            raise ConfigError(
                f"{self.path}: exported for batches up to {self.max_batch}, asked for {max(batches)}; export it with "
                f"`m2a export --batch {max(batches)}`, which proves the batches"
            )
        if precision not in _SUITS:
            raise ConfigError(f"precision '{precision}': expected one of {', '.join(PRECISIONS)}")
        if self.precision not in _SUITS[precision]:
            advice = "quantise it with `m2a quantize`" if precision == "int8" else "name the fp32 graph"
            raise ConfigError(
                f"{self.path}: its tensors are {self.precision}, and types are part of the graph, so no {precision} "
                f"engine can be built from it: {advice}"
            )

    def for_engine(self, precision: str) -> onnx.ModelProto:
        """The graph in an engine's precision, its portable bodies still in it."""
        return convert(self.model, "mixed") if (self.precision, precision) == ("fp32", "fp16") else self.model


def read_source(path: Path) -> SourceGraph:
    """Read a graph and check that `m2a export` made it.

    Raises:
        ModelError: no readable ONNX file, of another producer, or without the plugin's nodes.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such ONNX file; write one with `m2a export`")
    try:
        graph = read_regular(path, MAX_GRAPH_BYTES)
        require_whole(graph, path)
        model = onnx.load_from_string(graph)
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable ONNX file ({error}); export it again with `m2a export`") from error
    stated = {entry.key: entry.value for entry in model.metadata_props}
    missing = sorted({INPUT.name} - {v.name for v in model.graph.input}) + sorted(
        {spec.name for spec in OUTPUTS} - {v.name for v in model.graph.output}
    )
    if missing or not {"m2a.precision", "m2a.max_batch", "m2a.input_size"} <= stated.keys():
        raise ModelError(
            f"{path}: made by '{model.producer_name or 'unknown'}', not by this m2a's export (tensors missing: "
            f"{missing or 'none'}, metadata: {sorted(k for k in stated if k.startswith('m2a.')) or 'none'}); "
            "write the graph with `m2a export`"
        )
    nodes = tuple(n.name for n in model.graph.node if (n.domain, n.op_type) == (DOMAIN, OP_TYPE))
    if not nodes:
        raise ModelError(
            f"{path}: no node {DOMAIN}::{OP_TYPE} in it; deformable attention composed of GridSample is compiled "
            "wrongly by some releases of TensorRT: export the graph again with `m2a export`"
        )
    try:
        height, width = (int(n) for n in stated["m2a.input_size"].split("x"))
        max_batch = int(stated["m2a.max_batch"])
    except ValueError as error:
        raise ModelError(f"{path}: size or batch in its metadata is no number ({error}); export it again") from error
    digest = hashlib.sha256(graph).hexdigest()
    return SourceGraph(path, model, digest, stated["m2a.precision"], (height, width), max_batch, nodes)


def for_parser(model: onnx.ModelProto) -> bytes:
    """The graph as TensorRT's parser takes it; it computes the same.

    Local functions go: where a node has a body, the parser would take that and not the plugin. The image's bytes are
    converted before anything else: TensorRT can do nothing but that with bytes. For the rest see ``lowering``.
    """
    # Before the functions go, which say what shapes their nodes have.
    copy = onnx.shape_inference.infer_shapes(model)
    lower_argmax(copy)
    del copy.functions[:]
    # In a graph for batches its shape is asked for, too.
    first = [node for node in copy.graph.node if INPUT.name in node.input and node.op_type != "Shape"]
    if [node.op_type for node in first] == ["Transpose"]:
        (transpose,) = first
        casts = [node for node in copy.graph.node if transpose.output[0] in node.input]
        if [node.op_type for node in casts] == ["Cast"]:
            (cast,) = casts
            middle, end = transpose.output[0], cast.output[0]
            early, late = onnx.NodeProto(), onnx.NodeProto()
            early.CopyFrom(cast)
            late.CopyFrom(transpose)
            early.input[0], early.output[0], late.input[0], late.output[0] = INPUT.name, middle, middle, end
            transpose.CopyFrom(early)
            cast.CopyFrom(late)
            known = [info for info in copy.graph.value_info if info.name != middle]
            del copy.graph.value_info[:]
            copy.graph.value_info.extend(known)
    serialized: bytes = copy.SerializeToString()
    return serialized


def _size(size: tuple[int, int] | None) -> str:
    return "any size" if size is None else f"{size[0]}x{size[1]}"
