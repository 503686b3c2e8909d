"""The portable body of the deformable attention's node: an ONNX local function made of GridSample.

Runtimes that do not know the node inline the body; TensorRT takes the plugin of that name once the functions are
stripped. Shape legend: B batch, S keys, N heads, D channels a head, L levels, P points.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

from m2a_core.contract.plugin import DOMAIN, OP_TYPE
from m2a_core.errors import ExportError
from m2a_core.export.tracing import strip_notes, trace
from m2a_core.ops.deform_attn import Shapes, ms_deform_attn_grid_sample


class _Body(nn.Module):
    def __init__(self, shapes: Shapes, points: int) -> None:
        super().__init__()
        self.shapes, self.points = shapes, points

    def forward(self, value: Tensor, projection: Tensor) -> Tensor:
        return ms_deform_attn_grid_sample(value, projection, self.shapes, self.points)


def attach_body(graph: onnx.ModelProto, opset: int, max_batch: int) -> None:
    """Give the graph's deformable-attention nodes their body; a graph without such nodes stays as it is.

    Args:
        graph: an export whose nodes of type ``MSDeformAttn`` have no function yet.
        opset: of the body.
        max_batch: the graph takes 1 to this many images.

    Raises:
        ExportError: nodes differ in their attributes or sizes: one function serves all of them.
    """
    nodes = [node for node in graph.graph.node if (node.domain, node.op_type) == (DOMAIN, OP_TYPE)]
    if not nodes:
        return
    dims = {info.name: info.type.tensor_type.shape.dim for info in graph.graph.value_info}
    described = {_describe(node, dims) for node in nodes}
    if len(described) != 1:
        raise ExportError(f"deformable attention of several sizes in one network: {sorted(described)}; expected one")
    levels, points, heads, dim = described.pop()
    shapes = list(zip(levels[::2], levels[1::2], strict=True))
    keys = sum(h * w for h, w in shapes)
    example = (torch.zeros(max_batch, keys, heads, dim), torch.zeros(max_batch, keys, 3 * heads * len(shapes) * points))
    body = trace(_Body(shapes, points).eval(), example, ("value", "projection"), ("attended",), opset, max_batch)
    strip_notes(body)
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in body.graph.initializer]
    function = helper.make_function(
        DOMAIN,
        OP_TYPE,
        inputs=[value.name for value in body.graph.input],
        outputs=[value.name for value in body.graph.output],
        nodes=[*constants, *body.graph.node],
        opset_imports=[helper.make_opsetid("", opset)],
        attributes=[attribute.name for attribute in nodes[0].attribute],
    )
    graph.functions.append(function)


def _describe(node: onnx.NodeProto, dims: dict[str, list[Any]]) -> tuple[tuple[int, ...], int, int, int]:
    """Levels (height, width in a row), points, heads, channels a head."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    dim = dims[node.input[0]][3].dim_value
    return tuple(attributes["spatial_shapes"]), attributes["num_points"], attributes["num_heads"], dim
