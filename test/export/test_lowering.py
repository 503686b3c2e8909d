"""ArgMax as reductions: the same answer, ties and all."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from m2a_core.contract.io_spec import INPUT
from m2a_core.preprocess import Letterbox
from m2a_core.trt.lowering import lower_argmax
from test.export.conftest import SIZE, pictures


def argmax_model(values: np.ndarray, **attributes: int) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["values"], ["x"], "before"),
            helper.make_node("ArgMax", ["x"], ["index"], "pick", **attributes),
        ],
        "pick",
        [helper.make_tensor_value_info("values", kind, values.shape)],
        [helper.make_tensor_value_info("index", onnx.TensorProto.INT64, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)


@settings(max_examples=25)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    levels=st.integers(1, 4),
    half=st.booleans(),
    keepdims=st.sampled_from((0, 1)),
    seed=st.integers(0, 2**16),
)
def test_index_is_that_of_the_first_largest(shape, levels, half, keepdims, seed):
    values = np.random.default_rng(seed).integers(-levels, levels, shape).astype(np.float16 if half else np.float32)
    model = argmax_model(values, axis=1, keepdims=keepdims)
    lower_argmax(model)
    onnx.checker.check_model(model, full_check=True)
    assert "ArgMax" not in {node.op_type for node in model.graph.node}
    (index,) = run(model, {"values": values})
    assert index.dtype == np.int64
    assert np.array_equal(index, np.argmax(values, 1, keepdims=bool(keepdims)))


@pytest.mark.parametrize("attributes", [{"axis": 0}, {"axis": 2}, {"axis": 1, "select_last_index": 1}])
def test_other_argmaxes_stay(attributes):
    model = argmax_model(np.zeros((2, 3, 4), np.float32), **attributes)
    before = model.SerializeToString()
    lower_argmax(model)
    assert model.SerializeToString() == before


def test_exported_network_gives_the_same_outputs(exported):
    model = onnx.load(exported / "small-bundle.onnx")
    image = Letterbox(SIZE).apply(pictures(1)[0])[0][None]
    expected = run(model, {INPUT.name: image})
    lowered = onnx.shape_inference.infer_shapes(model)
    lower_argmax(lowered)
    assert sum(node.op_type == "ArgMax" for node in model.graph.node) == 2
    assert not any(node.op_type == "ArgMax" for node in lowered.graph.node)
    for got, want in zip(run(lowered, {INPUT.name: image}), expected, strict=True):
        assert np.array_equal(got, want)
