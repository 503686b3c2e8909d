"""What a graph must not have, however its bytes are ordered; the independent parser is protobuf's, through ``onnx``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from m2a_core.bundle.graph_check import require_whole
from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import ModelError
from m2a_core.trt.source import read_source
from test.tiny_bundle import write_tiny_bundle

PATH = Path("g.onnx")


def external() -> TensorProto:
    tensor = TensorProto(name="aside", data_type=TensorProto.FLOAT, dims=[300], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="aside.bin")
    return tensor


def model(nodes=None, tensors=(), functions=(), **more) -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", ["x"], ["y"])] if nodes is None else nodes
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", 1, [1])], [info("y", 1, [1])], list(tensors), **more)
    return helper.make_model(graph, functions=list(functions))


def function(nodes: list, domain: str = "m2a") -> onnx.FunctionProto:
    return helper.make_function(domain, "MSDeformAttn", ["x"], ["y"], nodes, [helper.make_opsetid("", 18)])


def length(number: int) -> bytes:
    more, low = number >> 7, number & 127
    return bytes([low | 128]) + length(more) if more else bytes([low])


def key_and_value_swapped() -> bytes:
    """The value of `StringStringEntryProto` before its key, which protobuf allows."""
    entry = b"\x12\x09aside.bin" + b"\x0a\x08location"
    for tag in (13, 5, 7):
        entry = length(tag << 3 | 2) + length(len(entry)) + entry
    return model().SerializeToString() + entry


def sparse() -> onnx.ModelProto:
    m = model()
    m.graph.sparse_initializer.add().values.CopyFrom(external())
    return m


def in_an_attribute(as_list: bool = False) -> onnx.ModelProto:
    node = helper.make_node("ConstantOfShape", ["x"], ["y"])
    attribute = node.attribute.add(name="value")
    (attribute.tensors.add() if as_list else attribute.t).CopyFrom(external())
    return model([node])


def only_the_location() -> onnx.ModelProto:
    tensor = external()
    del tensor.external_data[:]
    return model(tensors=[tensor])


def in_a_function() -> onnx.ModelProto:
    return model(functions=[function(list(in_an_attribute().graph.node))])


@pytest.mark.parametrize(
    "graph",
    [
        key_and_value_swapped,
        sparse,
        in_an_attribute,
        lambda: in_an_attribute(True),
        only_the_location,
        in_a_function,
        lambda: model(tensors=[external()]),
    ],
)
def test_tensors_in_other_files_are_found_wherever_the_graph_names_them(graph):
    made = graph()
    data = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(ModelError, match=r"g\.onnx: keeps tensors in other files"):
        require_whole(data, PATH)


def loop() -> onnx.ModelProto:
    return model([helper.make_node("Loop", ["x"], ["y"], body=model().graph)])


def several_bodies() -> onnx.ModelProto:
    return model([helper.make_node("Branches", ["x"], ["y"], domain="m2a", bodies=[model().graph])])


def node(op: str, domain: str = "") -> onnx.NodeProto:
    return helper.make_node(op, ["x"], ["y"], domain=domain)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (loop, "has subgraphs"),
        (several_bodies, "has subgraphs"),
        (lambda: model([node("EPContext", "com.microsoft")]), "operator of the domain 'com.microsoft'"),
        (lambda: model([node("X", "a\nb" * 100)]), r"domain '(a\\nb){26}a\\n\.\.\.', expected"),
        (lambda: model([node("RandomNormalLike")]), "RandomNormalLike, whose results do not repeat"),
        (lambda: model(functions=[function([node("Identity")], "ai.onnx")]), "function of the domain 'ai.onnx'"),
        (lambda: model(functions=[function([node("MSDeformAttn", "m2a")])]), "operator of the domain 'm2a'"),
    ],
)
def test_operators_that_m2a_does_not_export_are_refused(graph, message):
    with pytest.raises(ModelError, match=message):
        require_whole(graph().SerializeToString(), PATH)


def test_training_steps_are_refused():
    made = model()
    made.training_info.add()
    with pytest.raises(ModelError, match="has training steps"):
        require_whole(made.SerializeToString(), PATH)


@pytest.mark.parametrize("data", [b"\xff" * 12, b"\x3a\xff\x01", b"\x0b", b"\x38\x01", b"\x3a"])
def test_what_is_no_protobuf_message_is_refused(data):
    with pytest.raises(ModelError, match=r"g\.onnx: not a readable ONNX file"):
        require_whole(data, PATH)


def test_graph_of_m2a_passes():
    body = function([node("Identity")])
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    tensor.data_location = TensorProto.DEFAULT
    made = model([node("MSDeformAttn", "m2a"), node("Relu"), node("Relu", "ai.onnx")], [tensor], [body])
    require_whole(made.SerializeToString(), PATH)


def tensors_in(message: Message) -> Iterator[TensorProto]:
    """Every tensor of a message, by protobuf's reflection."""
    if isinstance(message, TensorProto):
        yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                yield from tensors_in(inner)


WHOLE = key_and_value_swapped()


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=3))
@example([])
def test_no_change_of_bytes_hides_an_external_tensor_from_the_check_but_not_from_protobuf(changes):
    data = bytearray(WHOLE)
    for at, byte in changes:
        data[at] = byte
    try:
        parsed = onnx.ModelProto.FromString(bytes(data))
    except DecodeError:
        return
    if any(t.external_data or t.data_location == TensorProto.EXTERNAL for t in tensors_in(parsed)):
        with pytest.raises(ModelError):
            require_whole(bytes(data), PATH)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [os.mkfifo, device, folder])
def test_graph_that_is_no_regular_file_is_refused_at_once(tmp_path, put: Callable[[Path], None]):
    directory = write_tiny_bundle(tmp_path / "tiny")
    (directory / "tiny.onnx").unlink()
    put(directory / "tiny.onnx")
    with pytest.raises(ModelError, match=r"tiny\.onnx: .*not a regular file"):
        load_bundle(directory)


def test_graph_beyond_protobufs_own_limit_is_refused_before_it_is_read(tmp_path):
    directory = write_tiny_bundle(tmp_path / "tiny")
    with (directory / "tiny.onnx").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match=r"tiny\.onnx: .*larger than"):
        load_bundle(directory)


def test_source_of_an_engine_is_checked_too(tmp_path):
    path = tmp_path / "g.onnx"
    path.write_bytes(key_and_value_swapped())
    with pytest.raises(ModelError, match="keeps tensors in other files"):
        read_source(path)
