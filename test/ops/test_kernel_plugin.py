"""The plugin in a real TensorRT's registry, parser and builder (TensorRT for RTX, which needs no GPU for these)."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from m2a_core.errors import ModelError
from m2a_core.ops.compile import CSRC, find_nvcc
from m2a_core.trt.plugin_build import LIBRARY, SOURCE, ensure_plugin, identity_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SHAPES = (4, 6, 2, 3)
KEYS, HEADS, DIM, POINTS = 30, 8, 32, 4
COLUMNS = 3 * HEADS * 2 * POINTS
TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}


@pytest.fixture(scope="module")
def backend(plugin):
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("no TensorRT for RTX: pip install tensorrt-rtx-cu13")
    from m2a_core.trt.backend import TENSORRT_RTX, load_backend

    loaded = load_backend(TENSORRT_RTX)
    loaded.load_plugin(plugin)
    return loaded


def node(**changes):
    attributes = {
        "num_heads": HEADS,
        "num_points": POINTS,
        "spatial_shapes": SHAPES,
        "plugin_version": "1",
        "plugin_namespace": "",
        **changes,
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    return helper.make_node("MSDeformAttn", ["value", "projection"], ["out"], "attention", domain="m2a", **given)


def graph(the_node=None, value=("B", KEYS, HEADS, DIM), projection=("B", KEYS, COLUMNS), dtype=TensorProto.FLOAT):
    """One node between inputs and output; B may be a number."""
    inputs = [
        helper.make_tensor_value_info("value", dtype, value),
        helper.make_tensor_value_info("projection", dtype, projection),
    ]
    outputs = [helper.make_tensor_value_info("out", dtype, None)]
    body = helper.make_graph([the_node or node()], "one", inputs, outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("m2a", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10).SerializeToString()


def build(backend, model, batches=None):
    """(engine or None, errors)."""
    trt = backend.trt
    backend.messages.clear()
    builder = trt.Builder(backend.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, backend.logger)
    if not parser.parse(model):
        found = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        return None, " | ".join([*found, *backend.messages])
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    if batches:
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            profile.set_shape(tensor.name, *((batch, *tensor.shape[1:]) for batch in batches))
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    return (bytes(engine) if engine is not None else None), " | ".join(backend.messages)


def test_registry_knows_the_plugin_by_type_version_namespace_and_fields(backend):
    creator = backend.trt.get_plugin_registry().get_creator("MSDeformAttn", "1", "")
    assert (creator.name, creator.plugin_version, creator.plugin_namespace) == ("MSDeformAttn", "1", "")
    assert [field.name for field in creator.field_names] == ["num_heads", "num_points", "spatial_shapes"]


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("dim", [16, 32])
def test_builds_into_an_engine(backend, dtype, dim):
    engine, errors = build(backend, graph(value=(1, KEYS, HEADS, dim), projection=(1, KEYS, COLUMNS), dtype=dtype))
    assert errors == ""
    assert engine


def test_builds_for_a_batch_that_may_change(backend):
    engine, errors = build(backend, graph(), batches=(1, 2, 4))
    assert errors == ""
    assert engine


def test_lies_between_quantised_layers_in_half_precision(backend):
    """Q and DQ around it: the linear layers become INT8, the plugin stays FP16."""
    rng = np.random.default_rng(0)
    width = HEADS * DIM
    weights = {"w": rng.standard_normal((COLUMNS, width)), "w_out": rng.standard_normal((width, width))}
    constants = [onnx.numpy_helper.from_array(w.astype(np.float16) / 16, name) for name, w in weights.items()]
    constants.append(onnx.numpy_helper.from_array(np.array(0.05, np.float16), "scale"))
    constants.append(onnx.numpy_helper.from_array(np.array(0, np.int8), "zero"))
    constants.append(onnx.numpy_helper.from_array(np.array([1, KEYS, HEADS, DIM], np.int64), "heads"))
    nodes = []

    def quantised(name):
        nodes.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_dq"]))
        return f"{name}_dq"

    nodes.append(helper.make_node("Reshape", ["x", "heads"], ["value"]))
    weight = quantised("w")
    nodes.append(helper.make_node("Transpose", [weight], ["w_t"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", [quantised("x"), "w_t"], ["projection"]))
    nodes.append(node())
    nodes.append(helper.make_node("MatMul", [quantised("out"), quantised("w_out")], ["y"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT16, (1, KEYS, HEADS * DIM))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)]
    body = helper.make_graph(nodes, "quantised", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("m2a", 1)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=10)
    engine, errors = build(backend, model.SerializeToString())
    assert errors == ""
    assert engine


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"the_node": node(plugin_version="9")}, "Plugin not found, are the plugin name, version, and namespace"),
        ({"the_node": node(num_heads=None)}, "attribute num_heads is missing"),
        ({"the_node": node(num_heads=0)}, "num_heads: expected at least 1, got 0"),
        ({"the_node": node(num_points=8)}, "num_points: the kernel is built for 4, got 8"),
        ({"the_node": node(spatial_shapes=[4, 6, 2])}, "expected height and width of 1 to 4 levels, got 3 numbers"),
        ({"the_node": node(spatial_shapes=[1] * 10)}, "expected height and width of 1 to 4 levels, got 10 numbers"),
        ({"the_node": node(spatial_shapes=[0, 6])}, "expected sides of at least 1, got 0"),
        ({"the_node": node(spatial_shapes=[4, 6, 2, 4])}, r"value \[-?1, 30, 8, 32\]: the levels have 32 keys"),
        ({"the_node": node(num_heads=4)}, "expected 4 heads"),
        ({"value": (1, KEYS, HEADS, 24)}, "built for 16 or 32 channels a head"),
        ({"value": (1, KEYS, HEADS * DIM)}, r"value: expected 4 dimensions \[B, S, N, D\], got \[1, 30, 256\]"),
        ({"projection": (1, KEYS, COLUMNS + 1)}, "expected 192 columns"),
        ({"projection": (1, KEYS + 1, COLUMNS)}, r"projection \[1, 31, 192\]: the levels have 30 keys"),
        ({"projection": (2, KEYS, COLUMNS)}, "batch: value has 1, projection 2"),
        ({"dtype": TensorProto.BFLOAT16}, "expected both FP32 or both FP16"),
        ({"dtype": TensorProto.INT32}, "expected both FP32 or both FP16"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(backend, changes, message, capfd):
    fixed = {"value": (1, KEYS, HEADS, DIM), "projection": (1, KEYS, COLUMNS)}
    engine, errors = build(backend, graph(**{**fixed, **changes}))
    assert engine is None
    # TensorRT for RTX hands plugins no logger; what they say goes to stderr there.
    assert re.search(message, errors + capfd.readouterr().err), errors


def test_second_call_builds_nothing(tensorrt_headers, plugin):
    stamp = plugin.stat().st_mtime_ns
    again = ensure_plugin(plugin.parents[1], tensorrt_headers, architectures=(89,))
    assert (again, again.stat().st_mtime_ns, again.name) == (plugin, stamp, LIBRARY)


def test_library_is_the_same_byte_by_byte_wherever_its_sources_lie(tensorrt_headers, plugin, tmp_path):
    for folder in (SOURCE, CSRC):
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT))
    copy, build = tmp_path / SOURCE.relative_to(ROOT), tmp_path / "build"
    given = {"TENSORRT_INCLUDE_DIR": tensorrt_headers, "CMAKE_CUDA_COMPILER": find_nvcc(), "M2A_CUDA_ARCHITECTURES": 89}
    for command in (
        ["cmake", "-S", copy, "-B", build, *(f"-D{name}={value}" for name, value in given.items())],
        ["cmake", "--build", build],
    ):
        subprocess.run(command, check=True, capture_output=True)
    assert (build / LIBRARY).read_bytes() == plugin.read_bytes()
    with (copy / "plugin.h").open("a") as header:
        header.write("// another source\n")
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    assert identity_of(build / LIBRARY) != identity_of(plugin)


def test_default_build_has_code_for_every_gpu_that_the_documents_name(tensorrt_headers, tmp_path):
    if find_nvcc() is None or shutil.which("cmake") is None:
        pytest.skip("no nvcc or no cmake: the plugin cannot be built")
    command = ["cmake", "-S", SOURCE, "-B", tmp_path, f"-DTENSORRT_INCLUDE_DIR={tensorrt_headers}"]
    command.append(f"-DCMAKE_CUDA_COMPILER={find_nvcc()}")
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    built = {int(number) for number in re.findall(r"\d+", re.search("GPU architectures: (.*)", said)[1])}
    documented = {int(number) for number in re.findall(r"sm_(\d+)", (ROOT / "docs" / "kernel.md").read_text())}
    assert documented >= built >= {75, 80, 86, 87, 89, 90}


def test_folder_without_headers_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"expected TensorRT's headers there, found no NvInferRuntime.h"):
        ensure_plugin(tmp_path, tmp_path)


def test_compiler_that_refuses_the_headers_is_quoted_and_leaves_no_library(tmp_path):
    if find_nvcc() is None or shutil.which("cmake") is None:
        pytest.skip("no nvcc or no cmake: the plugin cannot be built")
    (tmp_path / "NvInferRuntime.h").write_text("#error these are no headers\n")
    with pytest.raises(ModelError, match=r"could not be built: .*cmake --build failed(?s:.*)these are no headers"):
        ensure_plugin(tmp_path / "cache", tmp_path, architectures=(89,))
    assert not list((tmp_path / "cache").rglob(LIBRARY))
