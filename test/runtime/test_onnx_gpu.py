"""ONNX Runtime's GPU providers: choice, options and errors. The providers themselves have run on no hardware yet."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.errors import NoGpuError, ToleranceError
from m2a_core.runtime import onnx_gpu
from m2a_core.runtime.factory import create_runtime, create_runtime_or_fall_back
from m2a_core.runtime.onnx_gpu import OnnxGpuRuntime, providers
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from test.tiny_bundle import write_tiny_bundle

GPU_BACKENDS = {"onnxruntime_cuda": "CUDAExecutionProvider", "onnxruntime_tensorrt": "TensorrtExecutionProvider"}
HERE = set(ort.get_available_providers()) & set(GPU_BACKENDS.values())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> ModelBundle:
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("gpu") / "tiny"))


@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_provider_that_is_not_installed_is_named_with_the_package(bundle, backend):
    if GPU_BACKENDS[backend] in HERE:
        pytest.skip("onnxruntime-gpu is installed")
    with pytest.raises(NoGpuError, match=f"no {GPU_BACKENDS[backend]} .*CPUExecutionProvider.*install onnxruntime-gpu"):
        create_runtime(bundle, backend, threads=1)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_provider_that_does_not_load_is_an_error_and_no_silent_run_on_the_cpu(bundle, backend, monkeypatch):
    # ONNX Runtime leaves a known provider out where its library is missing, and goes on without.
    monkeypatch.setattr(ort, "get_available_providers", lambda: [*GPU_BACKENDS.values(), "CPUExecutionProvider"])
    with pytest.raises(NoGpuError, match=f"{GPU_BACKENDS[backend]} does not load, ONNX Runtime would use CPUExec"):
        create_runtime(bundle, backend, threads=1)


def test_fall_back_to_the_cpu_is_loud(bundle):
    if HERE:
        pytest.skip("onnxruntime-gpu is installed")
    said: list[str] = []
    runtime, used = create_runtime_or_fall_back(bundle, "onnxruntime_cuda", "onnxruntime", said.append, threads=1)
    assert used == "onnxruntime"
    assert isinstance(runtime, OnnxRuntime)
    assert "FALLING BACK from onnxruntime_cuda" in said[0]


def test_cuda_comes_before_the_cpu_and_computes_in_full_single_precision(bundle):
    (name, options), rest = providers("onnxruntime_cuda", bundle, 3)
    assert (name, rest) == ("CUDAExecutionProvider", ("CPUExecutionProvider", {}))
    assert options == {"device_id": "3", "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}


def test_tensorrt_comes_before_cuda_keeps_its_engines_and_leaves_sampling_alone(bundle):
    found = providers("onnxruntime_tensorrt", bundle, 1)
    assert [name for name, _ in found] == [*reversed(GPU_BACKENDS.values()), "CPUExecutionProvider"]
    options = found[0][1]
    assert options["device_id"] == "1"
    assert options["trt_op_types_to_exclude"] == "GridSample"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert bundle.manifest.onnx_sha256[:16] in options["trt_engine_cache_path"]


@pytest.fixture
def on_cpu(monkeypatch) -> None:
    """The CPU's provider in the GPU's place: all but the provider is real."""
    monkeypatch.setattr(onnx_gpu, "_NAMES", dict.fromkeys(GPU_BACKENDS, "CPUExecutionProvider"))
    monkeypatch.setattr(onnx_gpu, "providers", lambda *_: [("CPUExecutionProvider", {})])


def test_results_are_those_of_the_cpu_and_come_beside_it(bundle, on_cpu):
    image = np.random.default_rng(0).integers(0, 256, (*bundle.manifest.input_size, 3), np.uint8)
    runtime = create_runtime(bundle, "onnxruntime_cuda", threads=1)
    assert isinstance(runtime, OnnxGpuRuntime)
    assert runtime.is_accelerator
    expected = OnnxRuntime(bundle, threads=1).infer(image)
    (got,) = runtime.submit(image[None]).result()
    for output in (got, runtime.infer(image)):
        assert np.array_equal(output.anomaly, expected.anomaly)
    runtime.close()


def test_gpu_that_computes_something_else_is_refused(bundle, on_cpu, monkeypatch):
    model = onnx.load(bundle.onnx_path)
    for node in model.graph.node:
        node.output[:] = ["before" if name == "query_masks" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Not", ["before"], ["query_masks"]))
    graphs = iter([model.SerializeToString(), bundle.read_graph()])
    monkeypatch.setattr(ModelBundle, "read_graph", lambda self: next(graphs))
    with pytest.raises(ToleranceError, match=r"tiny\.onnx: on CPUExecutionProvider, .*mask_iou"):
        create_runtime(bundle, "onnxruntime_cuda", threads=1)
