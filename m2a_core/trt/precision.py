"""Single-precision graph -> strongly typed half precision: each tensor's type is in the graph, none left to a builder.

* ``fp32``: as traced.
* ``fp16``: everything is half precision, but the outputs' types, which are those of ``io_spec``.
* ``mixed``: the network's layers are half precision. Normalisation of the image, layer norms, softmax and the open-set
  maps compute in single precision; between the steps of the maps values are rounded to half, which halves what they
  read and write. Group norms take and give half precision: TensorRT, as ONNX Runtime, computes them in single precision
  inside, and fuses them where no cast is in between.

In all of them the deformable attention places its samples in single precision, whatever type it reads and writes.
"""

from __future__ import annotations

from typing import Literal, get_args

import onnx
from onnx import helper

Precision = Literal["fp32", "fp16", "mixed"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

NETWORK_SCOPE = "model"
"""Attribute of the exported module that is the network; the names of its nodes begin so."""

_SENSITIVE = ("Softmax", "LayerNormalization")
_MAPS_SCOPE = "heads"
"""Attribute of the exported module that makes the open-set maps."""


def convert(graph: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The graph in another precision; inputs and outputs keep their types.

    Args:
        graph: in single precision.
        precision: see the module.
    """
    if precision == "fp32":
        return graph
    # Not above: sympy comes with them, and most that import this module convert nothing.
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # The converter knows the type of a tensor by its name and looks at no function: both are put back afterwards.
    functions = list(graph.functions)
    blocked = [] if precision == "fp16" else [n.name for n in graph.graph.node if not n.name.startswith(NETWORK_SCOPE)]
    metadata = [(entry.key, entry.value) for entry in graph.metadata_props]
    # It changes the graph that it is given.
    original, graph = graph, onnx.ModelProto()
    graph.CopyFrom(original)
    half = convert_float_to_float16(
        graph,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[] if precision == "fp16" else list(_SENSITIVE),
        node_block_list=blocked,
    )
    _join_casts(half)
    # It appends its casts at the end.
    model = onnx_ir.from_proto(half)
    model.graph.sort()
    RemoveUnusedNodesPass()(model)
    half = onnx_ir.to_proto(model)
    del half.functions[:], half.metadata_props[:]
    for function in functions:
        copy = half.functions.add()
        copy.CopyFrom(function)
        _in_full_precision(copy)
    # The converter's notes on types are stale where it added casts.
    del half.graph.value_info[:]
    half = onnx.shape_inference.infer_shapes(half, strict_mode=True)
    for key, value in metadata:
        half.metadata_props.add(key=key, value=value)
    return half


def _join_casts(graph: onnx.ModelProto) -> None:
    """Take out casts to half and back, which the converter puts between two layers that it leaves alone.

    They round: the image's values, up to 255, to eighths. Not between steps of the open-set maps; see the module.
    """
    made_by = {output: node for node in graph.graph.node for output in node.output}
    for node in graph.graph.node:
        for i, name in enumerate(node.input):
            wide = made_by.get(name)
            narrow = (
                made_by.get(wide.input[0]) if wide is not None and _casts_to(wide, onnx.TensorProto.FLOAT) else None
            )
            if narrow is None or not _casts_to(narrow, onnx.TensorProto.FLOAT16):
                continue
            source = made_by.get(narrow.input[0])
            if source is not None and not source.name.startswith(_MAPS_SCOPE) and narrow.name.endswith(_ADDED):
                node.input[i] = narrow.input[0]


_ADDED = "_cast_to_fp16_node"
"""How the converter ends the name of a cast that it adds."""


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == kind


def _in_full_precision(function: onnx.FunctionProto) -> None:
    """Let a body take and give half precision while it computes in single precision, as the plugin does."""
    for i, name in enumerate(function.input):
        wide = f"{name}_float32"
        for node in function.node:
            node.input[:] = [wide if used == name else used for used in node.input]
        function.node.insert(i, helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.FLOAT))
    (result,) = function.output
    for node in function.node:
        node.output[:] = [f"{result}_float32" if made == result else made for made in node.output]
    function.node.append(helper.make_node("CastLike", [f"{result}_float32", function.input[0]], [result]))
