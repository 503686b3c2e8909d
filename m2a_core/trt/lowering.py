"""Rewriting a graph for TensorRT: the same results from what its compiler makes fewer and smaller kernels of."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def lower_argmax(model: onnx.ModelProto) -> None:
    """Replace every ``ArgMax`` over axis 1, the first of equals, by reductions; in place.

    TensorRT makes of the operator a transposition, a sort and casts, of these a reduction that joins its neighbours.
    ONNX Runtime on a CPU is faster with the operator.

    Args:
        model: with shapes noted (``onnx.shape_inference``); an operator whose input has none stays as it is.
    """
    graph = model.graph
    known = {info.name: info.type.tensor_type for info in graph.value_info}
    lowered: list[onnx.NodeProto] = []
    for node in graph.node:
        tensor = known.get(node.input[0]) if node.op_type == "ArgMax" else None
        if tensor is None or _attribute(node, "axis", 0) != 1 or _attribute(node, "select_last_index", 0):
            lowered.append(node)
        else:
            lowered += _reductions(graph, node, tensor)
    del graph.node[:]
    graph.node.extend(lowered)


def _reductions(graph: onnx.GraphProto, node: onnx.NodeProto, tensor: onnx.TypeProto.Tensor) -> list[onnx.NodeProto]:
    """Where an entry is the largest, its index, else one too many; the least of them."""
    count, rank = tensor.shape.dim[1].dim_value, len(tensor.shape.dim)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    name = node.output[0]
    constants = {
        "axes": np.array([1], np.int64),
        "indices": np.arange(count, dtype=dtype).reshape(1, -1, *[1] * (rank - 2)),
        "behind": np.array(count, dtype),
    }
    for key, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, f"{name}_{key}"))
    steps = {key: f"{name}_{key}" for key in (*constants, "largest", "equal", "candidates", "index")}
    source, keepdims = node.input[0], _attribute(node, "keepdims", 1)
    return [
        helper.make_node("ReduceMax", [source, steps["axes"]], [steps["largest"]], f"{node.name}_largest", keepdims=1),
        helper.make_node("Equal", [source, steps["largest"]], [steps["equal"]], f"{node.name}_equal"),
        helper.make_node(
            "Where", [steps["equal"], steps["indices"], steps["behind"]], [steps["candidates"]], f"{node.name}_where"
        ),
        helper.make_node(
            "ReduceMin", [steps["candidates"], steps["axes"]], [steps["index"]], f"{node.name}_first", keepdims=keepdims
        ),
        helper.make_node("Cast", [steps["index"]], [name], node.name, to=onnx.TensorProto.INT64),
    ]


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)
