"""A bundle's graph, cut at the network's features: what it knows of every pixel before it decides on classes.

No graph has them as outputs. The mask features are found by going back from the masks, which are their product with the
queries' embeddings (Cheng et al., Mask2Former, CVPR 2022, Sec. 3.2). The backbone's last maps at a sixteenth and a
thirty-second of the image are found by the names that ``m2a_core.export.tracing`` gives nodes after their modules; a
graph without such names gives mask features alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnxruntime as ort

from m2a_core.bundle.loading import ModelBundle
from m2a_core.contract.io_spec import INPUT, MASK_STRIDE
from m2a_core.errors import ModelError
from m2a_core.runtime.onnx_runtime import ort_errors

BACKBONE = "model.backbone"
_MASKS = "mask_logits"
_BACKBONE_STRIDES = (16, 32)
_PRODUCTS = ("MatMul", "Einsum", "Gemm")
# What changes the shape or the type of values, and not the values.
_SEE_THROUGH = (
    "Slice",
    "Reshape",
    "Cast",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Flatten",
    "QuantizeLinear",
    "DequantizeLinear",
)


def feature_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the tensors of features, [B, C, h, w] each, mask features first; none where masks are no product."""
    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    product = _behind(_MASKS, producer)
    if product is None or product.op_type not in _PRODUCTS:
        return []
    sources = [_behind(name, producer) for name in product.input]
    masks = next((str(node.output[0]) for node in sources if node is not None and node.op_type == "Conv"), None)
    return [] if masks is None else [masks, *_backbone_maps(model, masks)]


def feature_session(bundle: ModelBundle, threads: int | None) -> ort.InferenceSession | None:
    """A session from ``image`` to the features alone; None in a graph that has none.

    Raises:
        ModelError: the graph cannot be read.
    """
    try:
        model = onnx.load_from_string(bundle.read_graph())
        names = feature_tensors(model)
        if not names:
            return None
        _keep(model.graph, names)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        options.use_deterministic_compute = True
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    # Errors of protobuf, ONNX and ONNX Runtime share no base class narrower than these.
    except (ValueError, RuntimeError, NotImplementedError) + ort_errors() as error:
        reason = str(error).strip()[:200]
        raise ModelError(f"{bundle.onnx_path}: cannot be cut at its features ({reason}); export it again") from error


def _backbone_maps(model: onnx.ModelProto, masks: str) -> list[str]:
    """The backbone's last map at each of ``_BACKBONE_STRIDES``.

    The network may pad its input, so the size of the mask features tells theirs.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {item.name: _size(item) for item in inferred.value_info}
    if sizes.get(masks) is None:
        return []
    height, width = sizes[masks] or (0, 0)
    found = []
    for stride in _BACKBONE_STRIDES:
        factor = stride // MASK_STRIDE
        wanted = (height // factor, width // factor)
        maps = [
            output
            for node in model.graph.node
            if node.name.startswith(BACKBONE)
            for output in node.output
            if sizes.get(output) == wanted
        ]
        found += maps[-1:]
    return found


def _size(item: onnx.ValueInfoProto) -> tuple[int, int] | None:
    """Height and width of a tensor [B, C, h, w]; None for another."""
    dims = item.type.tensor_type.shape.dim
    return (int(dims[2].dim_value), int(dims[3].dim_value)) if len(dims) == 4 else None


def _behind(name: str, producer: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    node = producer.get(name)
    while node is not None and node.op_type in _SEE_THROUGH:
        node = producer.get(node.input[0])
    return node


def _keep(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Drop all outputs but some tensors, and all nodes and weights that they do not need."""
    needed, nodes = set(names), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, kept in (("node", nodes[::-1]), ("initializer", weights)):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
    graph.ClearField("value_info")
    graph.ClearField("output")
    # Without a type: of a graph of half precision the features are half precision, too.
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    assert INPUT.name in {item.name for item in graph.input}
