"""ONNX Runtime's other providers: choice, options and errors. Those of GPUs have run on no hardware yet."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.errors import InferenceError, ModelError, RestartNeededError, ToleranceError
from m2a_core.runtime import onnx_provider
from m2a_core.runtime.factory import create_runtime, create_runtime_or_fall_back
from m2a_core.runtime.onnx_provider import OnnxProviderRuntime, providers
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from test.tiny_bundle import write_tiny_bundle

NAMES = {
    "onnxruntime_cuda": "CUDAExecutionProvider",
    "onnxruntime_tensorrt": "TensorrtExecutionProvider",
    "onnxruntime_openvino": "OpenVINOExecutionProvider",
}
PACKAGES = dict(zip(NAMES, ("onnxruntime-gpu", "onnxruntime-gpu", "onnxruntime-openvino"), strict=True))
HERE = set(ort.get_available_providers()) & set(NAMES.values())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> ModelBundle:
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("gpu") / "tiny"))


@pytest.mark.parametrize("backend", NAMES)
def test_provider_that_is_not_installed_is_named_with_the_package(bundle, backend):
    if NAMES[backend] in HERE:
        pytest.skip("the package is installed")
    with pytest.raises(ModelError, match=f"no {NAMES[backend]} .*CPUExecutionProvider.*install {PACKAGES[backend]}"):
        create_runtime(bundle, backend, threads=1)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("backend", NAMES)
def test_provider_that_does_not_load_is_an_error_and_no_silent_run_on_the_cpu(bundle, backend, monkeypatch):
    # ONNX Runtime leaves a known provider out where its library is missing, and goes on without.
    monkeypatch.setattr(ort, "get_available_providers", lambda: [*NAMES.values(), "CPUExecutionProvider"])
    with pytest.raises(ModelError, match=f"{NAMES[backend]} does not load, ONNX Runtime would use CPUExec"):
        create_runtime(bundle, backend, threads=1)


def test_fall_back_to_the_cpu_is_loud(bundle):
    if HERE:
        pytest.skip("the package is installed")
    said: list[str] = []
    runtime, used = create_runtime_or_fall_back(bundle, "onnxruntime_cuda", "onnxruntime", said.append, threads=1)
    assert used == "onnxruntime"
    assert isinstance(runtime, OnnxRuntime)
    assert "FALLING BACK from onnxruntime_cuda" in said[0]


def test_cuda_comes_before_the_cpu_and_computes_in_full_single_precision(bundle):
    (name, options), rest = providers("onnxruntime_cuda", bundle, 1, 3)
    assert (name, rest) == ("CUDAExecutionProvider", ("CPUExecutionProvider", {}))
    assert options == {"device_id": "3", "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}


@pytest.mark.parametrize(("threads", "stated"), [(None, {}), (2, {"num_of_threads": "2"})])
def test_openvino_computes_in_single_precision_with_the_threads_that_are_given(bundle, threads, stated):
    (name, options), rest = providers("onnxruntime_openvino", bundle, threads, 0)
    assert (name, rest[0]) == ("OpenVINOExecutionProvider", "CPUExecutionProvider")
    assert options == {"device_type": "CPU", "precision": "FP32", **stated}


def test_tensorrt_comes_before_cuda_keeps_its_engines_and_leaves_sampling_alone(bundle):
    found = providers("onnxruntime_tensorrt", bundle, None, 1)
    assert [name for name, _ in found] == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    options = found[0][1]
    assert options["device_id"] == "1"
    assert options["trt_op_types_to_exclude"] == "GridSample"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert bundle.manifest.onnx_sha256[:16] in options["trt_engine_cache_path"]


@pytest.fixture
def on_cpu(monkeypatch) -> None:
    """The CPU's provider in the other's place: all but the provider is real."""
    monkeypatch.setattr(onnx_provider, "PROVIDER_NAMES", dict.fromkeys(NAMES, "CPUExecutionProvider"))
    monkeypatch.setattr(onnx_provider, "providers", lambda *_: [("CPUExecutionProvider", {})])


@pytest.mark.parametrize("backend", NAMES)
def test_results_are_those_of_the_cpu_and_a_gpus_come_beside_it(bundle, on_cpu, backend):
    image = np.random.default_rng(0).integers(0, 256, (*bundle.manifest.input_size, 3), np.uint8)
    runtime = create_runtime(bundle, backend, threads=1)
    assert isinstance(runtime, OnnxProviderRuntime)
    assert runtime.is_accelerator == (backend != "onnxruntime_openvino")
    expected = OnnxRuntime(bundle, threads=1).infer(image)
    (got,) = runtime.submit(image[None]).result()
    for output in (got, runtime.infer(image)):
        assert np.array_equal(output.anomaly, expected.anomaly)
    runtime.close()


def test_provider_that_computes_something_else_is_refused(bundle, on_cpu, monkeypatch):
    model = onnx.load(bundle.onnx_path)
    for node in model.graph.node:
        node.output[:] = ["before" if name == "query_masks" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Not", ["before"], ["query_masks"]))
    graphs = iter([model.SerializeToString(), bundle.read_graph()])
    monkeypatch.setattr(ModelBundle, "read_graph", lambda self: next(graphs))
    with pytest.raises(ToleranceError, match=r"tiny\.onnx: on CPUExecutionProvider, .*mask_iou"):
        create_runtime(bundle, "onnxruntime_cuda", threads=1)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", RestartNeededError),
        ("CUDA failure 719: unspecified launch failure ; GPU=0", RestartNeededError),
        ("CUDA failure 2: out of memory ; GPU=0", InferenceError),
        ("Non-zero status code returned while running Conv node", InferenceError),
    ],
)
def test_lost_gpu_is_told_from_a_failed_frame(bundle, on_cpu, monkeypatch, said, kind):
    runtime = create_runtime(bundle, "onnxruntime_cuda", threads=1)

    def fail(*_):
        raise RuntimeError(said)

    monkeypatch.setattr(ort.InferenceSession, "run", fail)
    image = np.zeros((*bundle.manifest.input_size, 3), np.uint8)
    for run in (lambda: runtime.infer(image), lambda: runtime.submit(image[None]).result()):
        with pytest.raises(kind) as raised:
            run()
        assert type(raised.value) is kind
    runtime.close()
