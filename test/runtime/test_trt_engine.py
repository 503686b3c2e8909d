"""The TensorRT runtime from load to close, on a fake TensorRT and a fake CUDA. It has run on no hardware yet."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("cuda.bindings", reason="needs cuda-python")

from m2a_core.bundle.loading import ModelBundle, load_bundle, sha256_of
from m2a_core.contract.io_spec import OUTPUTS
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import InferenceError, ModelError, RestartNeededError, ToleranceError
from m2a_core.metrics.parity import compare
from m2a_core.ops.native_code import keep_hash
from m2a_core.runtime.base import infer_images
from m2a_core.runtime.factory import create_runtime, create_runtime_or_fall_back
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.runtime.trt_runtime import TensorRtRuntime, default_engine
from m2a_core.trt import engine as engine_module
from m2a_core.trt import plugin_build
from m2a_core.trt.engine_manifest import (
    NOT_VERIFIED,
    VERIFIED,
    EngineKey,
    EngineManifest,
    load_checked,
    manifest_path,
    reference_path,
)
from m2a_core.trt.plugin_build import identity_of
from m2a_core.trt.reference import save_reference
from test.runtime.fake_cuda import ERROR, FakeCuda, install
from test.runtime.fake_trt import SCRATCH, Damage, FakeBackend
from test.tiny_bundle import tiny_colors, write_tiny_bundle

BATCHES = (1, 2, 4)
SIZE = (32, 64)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> ModelBundle:
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("engine") / "tiny", SIZE))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Halves of two colours each, all different."""
    colors = list(tiny_colors().values())
    pictures = np.zeros((3, *SIZE, 3), np.uint8)
    for i, picture in enumerate(pictures):
        picture[:, : 16 * (i + 1)], picture[:, 16 * (i + 1) :] = colors[i], colors[i + 4]
    return pictures


@pytest.fixture(scope="module")
def reference(bundle, images) -> list[NetworkOutput]:
    runtime = OnnxRuntime(bundle, threads=1)
    return [runtime.infer(image) for image in images]


@pytest.fixture
def cuda(monkeypatch) -> FakeCuda:
    return install(monkeypatch)


@pytest.fixture
def damage() -> dict[int, Damage]:
    """Filled by tests that want a faulty engine."""
    return {}


@pytest.fixture
def backend(bundle, cuda, damage, monkeypatch) -> FakeBackend:
    fake = FakeBackend(bundle.onnx_path.read_bytes(), cuda, damage)
    monkeypatch.setattr(engine_module, "load_backend", lambda name: fake)
    return fake


@pytest.fixture
def load(bundle, images, reference, backend, monkeypatch, tmp_path) -> Callable[..., TensorRtRuntime]:
    """Loads an engine, verified before or not."""
    path = default_engine(bundle.onnx_path)
    path.write_bytes(b"an engine")
    # Where a library that was built here lies, as `ensure_plugin` leaves it.
    plugin = tmp_path / "plugin-1" / plugin_build.LIBRARY
    plugin.parent.mkdir(mode=0o700)
    plugin.write_bytes(b"m2a-plugin-identity:" + 64 * b"1")
    keep_hash(plugin)
    monkeypatch.setattr(plugin_build, "find_built", partial(plugin_build.find_built, cache=tmp_path))
    save_reference(reference_path(path), images, reference)
    key = EngineKey(
        bundle.manifest.onnx_sha256,
        identity_of(plugin),
        "tensorrt",
        "1.0",
        "sm89",
        "RTX 4090",
        24 << 10,
        "fp16",
        SIZE,
        BATCHES,
    )
    digests = sha256_of(path), sha256_of(reference_path(path))
    manifest = EngineManifest(key, *digests, ("a layer",), compare(reference, reference), NOT_VERIFIED, 1.0)

    def do(verified: bool = True) -> TensorRtRuntime:
        before = {"verification": VERIFIED, "verified_batches": BATCHES} if verified else {}
        replace(manifest, **before).save(manifest_path(path))
        runtime = create_runtime(bundle, "tensorrt")
        assert isinstance(runtime, TensorRtRuntime)
        return runtime

    return do


def manifest_of(bundle: ModelBundle) -> EngineManifest:
    return load_checked(Path(default_engine(bundle.onnx_path)))


def test_first_load_verifies_every_batch_size_and_says_which(load, bundle, caplog):
    with caplog.at_level(logging.INFO, "m2a.trt"):
        load(verified=False).close()
    manifest = manifest_of(bundle)
    assert manifest.verified
    assert manifest.verified_batches == BATCHES
    assert manifest.parity.frames == 3 * 1 + 2 * 3 * (2 + 4)
    assert "batch sizes 1, 2, 4" in caplog.text


def test_scratch_memory_is_one_for_all_batch_sizes_and_known_to_manifest_and_log(load, bundle, cuda, backend, caplog):
    with caplog.at_level(logging.INFO, "m2a.trt"):
        runtime = load(verified=False)
    (engine,) = backend.engines
    assert len(engine.contexts) == len(BATCHES)
    assert {context.scratch[1] for context in engine.contexts} == {SCRATCH}
    assert len({context.scratch[0] for context in engine.contexts}) == 1
    assert list(cuda.sizes.values()).count(SCRATCH) == 1
    assert manifest_of(bundle).device_memory == SCRATCH
    assert "3.0 MiB of scratch that batch sizes 1, 2, 4 share" in caplog.text
    runtime.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_graphs_replay_with_the_images_of_the_frame(load, images, reference, count):
    runtime = load()
    chosen = [i % 3 for i in range(count)]
    for shift in range(2):
        order = np.roll(chosen, shift)
        for got, i in zip(runtime.submit(images[order]).result(), order, strict=True):
            for spec in OUTPUTS:
                assert np.array_equal(getattr(got, spec.name), getattr(reference[i], spec.name))
    runtime.close()


def swapped(name: str, values: np.ndarray) -> np.ndarray:
    return values[::-1]


def last_repeats_the_first(name: str, values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:-1], values[:1]])


def masks_inverted(name: str, values: np.ndarray) -> np.ndarray:
    return ~values if name == "query_masks" else values


@pytest.mark.parametrize(
    ("profile", "fault"),
    [(0, masks_inverted), (1, swapped), (2, swapped), (2, last_repeats_the_first), (2, masks_inverted)],
)
def test_fault_of_one_batch_size_refuses_the_engine(load, bundle, cuda, damage, profile, fault):
    damage[profile] = fault
    with pytest.raises(ToleranceError, match=f"out of tolerance for batches of {BATCHES[profile]} "):
        load(verified=False)
    assert not manifest_of(bundle).verified
    assert cuda.memory == cuda.graphs == {}


def never_verified(bundle: ModelBundle) -> EngineManifest:
    manifest = replace(manifest_of(bundle), verification=NOT_VERIFIED, verified_batches=())
    manifest.save(manifest_path(default_engine(bundle.onnx_path)))
    return manifest


def test_engine_in_a_folder_that_cannot_be_written_is_verified_and_used(
    load, bundle, images, reference, monkeypatch, caplog
):
    load(verified=True).close()
    never_verified(bundle)

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", read_only)
    runtime = create_runtime(bundle, "tensorrt")
    assert np.array_equal(runtime.infer(images[0]).anomaly, reference[0].anomaly)
    runtime.close()
    assert "Read-only file system" in caplog.text
    assert not manifest_of(bundle).verified


def test_engine_that_is_put_in_the_place_of_one_that_is_verified_does_not_count_as_verified(load, bundle, damage):
    load(verified=True).close()
    path = default_engine(bundle.onnx_path)
    manifest = never_verified(bundle)

    def build_another(name: str, values: np.ndarray) -> np.ndarray:
        path.write_bytes(b"another engine")
        replace(manifest, engine_sha256=sha256_of(path)).save(manifest_path(path))
        return values

    damage[0] = build_another
    create_runtime(bundle, "tensorrt").close()
    assert manifest_of(bundle).engine_sha256 == sha256_of(path)
    assert not manifest_of(bundle).verified


def takes_camera_images(graph: onnx.GraphProto) -> None:
    """The outputs of a graph with the letterbox in it, for a camera of the network's size."""
    for name, source, shape in (("seen", "image", (1, *SIZE, 3)), ("open_set", "semantic", (1, *SIZE))):
        graph.node.append(helper.make_node("Identity", [source], [name]))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))


def next_class(name: str, values: np.ndarray) -> np.ndarray:
    return values + np.uint8(1) if name == "open_set" else values


def other_colors(name: str, values: np.ndarray) -> np.ndarray:
    return values[..., ::-1] if name == "seen" else values


@pytest.mark.parametrize(("fault", "said"), [(None, ""), (next_class, "open_set 0 "), (other_colors, "seen [12]")])
def test_what_a_camera_s_graph_gives_beside_the_rest_is_verified_too(
    load, bundle, images, reference, cuda, damage, monkeypatch, fault, said
):
    load(verified=True).close()
    unverified = never_verified(bundle)
    graph = with_outputs(bundle.onnx_path.read_bytes(), takes_camera_images)
    path = default_engine(bundle.onnx_path)
    kept = [replace(o, seen=image, open_set=o.semantic) for o, image in zip(reference, images, strict=True)]
    save_reference(reference_path(path), images, kept)
    replace(unverified, reference_sha256=sha256_of(reference_path(path))).save(manifest_path(path))
    monkeypatch.setattr(engine_module, "load_backend", lambda name: FakeBackend(graph, cuda, damage))
    if fault is None:
        create_runtime(bundle, "tensorrt").close()
        assert manifest_of(bundle).verified
        return
    damage[2] = fault
    with pytest.raises(ToleranceError, match=f"for batches of 4 .{said}"):
        create_runtime(bundle, "tensorrt")
    assert not manifest_of(bundle).verified


def test_verified_engine_is_not_verified_again(load, bundle, damage):
    damage[2] = swapped
    load(verified=True).close()


def test_an_engine_that_is_replaced_after_it_was_checked_is_not_loaded(load, cuda, monkeypatch):
    check = engine_module.check_fits

    def replace_it(manifest, path, *others):
        check(manifest, path, *others)
        path.write_bytes(b"another engine")

    monkeypatch.setattr(engine_module, "check_fits", replace_it)
    with pytest.raises(ModelError, match="has changed"):
        load()
    assert cuda.memory == {}


def test_an_engine_that_is_gone_after_it_was_checked_is_named(load, cuda, monkeypatch):
    check = engine_module.check_fits

    def remove_it(manifest, path, *others):
        check(manifest, path, *others)
        path.unlink()

    monkeypatch.setattr(engine_module, "check_fits", remove_it)
    with pytest.raises(ModelError, match=r"tiny\.engine: cannot be read \(No such file"):
        load()
    assert cuda.memory == {}


def with_outputs(graph: bytes, change: Callable[[onnx.GraphProto], object]) -> bytes:
    model = onnx.load_from_string(graph)
    change(model.graph)
    return model.SerializeToString()


def full_masks(graph: onnx.GraphProto) -> None:
    """Every query's mask, each cell as large as the pixels beside it."""
    masks = next(output for output in graph.output if output.name == "query_masks")
    _, queries, height, width = (side.dim_value for side in masks.type.tensor_type.shape.dim)
    scales = helper.make_tensor("scales_of_masks", TensorProto.FLOAT, [4], [1, 1, 4, 4])
    graph.initializer.append(scales)
    graph.node.append(helper.make_node("Cast", ["query_masks"], ["bytes"], to=TensorProto.UINT8))
    graph.node.append(helper.make_node("Resize", ["bytes", "", scales.name], ["larger"], mode="nearest"))
    graph.node.append(helper.make_node("Cast", ["larger"], ["full_masks"], to=TensorProto.BOOL))
    shape = [1, queries, 4 * height, 4 * width]
    graph.output.append(helper.make_tensor_value_info("full_masks", TensorProto.BOOL, shape))


def no_logits(graph: onnx.GraphProto) -> None:
    kept = [output for output in graph.output if not output.name.endswith("_logits")]
    del graph.output[:]
    graph.output.extend(kept)


def test_raw_outputs_are_those_that_the_graph_has(load, bundle, images, cuda, monkeypatch):
    graph = with_outputs(bundle.onnx_path.read_bytes(), full_masks)
    monkeypatch.setattr(engine_module, "load_backend", lambda name: FakeBackend(graph, cuda, {}))
    runtime = load()
    plain, raw = runtime.infer(images[0]), runtime.infer(images[0], raw=True)
    assert plain.full_masks is None
    assert raw.mask_logits is not None
    assert raw.full_masks is not None
    assert np.array_equal(raw.full_masks[:, ::4, ::4], raw.query_masks)
    runtime.close()


def test_raw_outputs_that_the_engine_lacks_are_named(load, bundle, images, cuda, monkeypatch):
    graph = with_outputs(bundle.onnx_path.read_bytes(), no_logits)
    monkeypatch.setattr(engine_module, "load_backend", lambda name: FakeBackend(graph, cuda, {}))
    runtime = load()
    runtime.infer(images[0])
    with pytest.raises(ModelError, match="no outputs .'class_logits', 'mask_logits'.; export its graph again"):
        runtime.infer(images[0], raw=True)
    runtime.close()


def test_engine_of_another_plugin_than_the_process_has_is_refused(load, backend, cuda, tmp_path):
    """TensorRT keeps the first of a name: after an update, code of the old one would run in the new one's engine."""
    backend.plugin_in_use = tmp_path / "old.so"
    backend.plugin_in_use.write_bytes(b"m2a-plugin-identity:" + 64 * b"1")
    load().close()
    backend.plugin_in_use.write_bytes(b"m2a-plugin-identity:" + 64 * b"2")
    with pytest.raises(ModelError, match=r"this process has another plugin, .*old\.so.* start the process anew"):
        load()
    assert cuda.memory == {}


def test_engine_with_a_batch_size_that_was_never_compared_is_verified(load, bundle, images):
    load(verified=True).close()
    path = manifest_path(default_engine(bundle.onnx_path))
    replace(manifest_of(bundle), verified_batches=(1, 2)).save(path)
    assert not manifest_of(bundle).verified
    create_runtime(bundle, "tensorrt").close()
    assert manifest_of(bundle).verified_batches == BATCHES


def test_engine_that_was_built_without_batch_1_takes_any_number_of_images(load, bundle, images, reference):
    load(verified=True).close()
    path = manifest_path(default_engine(bundle.onnx_path))
    manifest = manifest_of(bundle)
    replace(manifest, key=replace(manifest.key, batches=(2, 4)), verified_batches=(2, 4)).save(path)
    runtime = create_runtime(bundle, "tensorrt")
    for count in (1, 2, 3):
        outputs = infer_images(runtime, list(images[:count]))
        for got, wanted in zip(outputs, reference[:count], strict=True):
            assert np.array_equal(got.anomaly, wanted.anomaly)
    runtime.close()


def test_more_images_than_the_engine_takes_are_refused(load, images):
    runtime = load()
    with pytest.raises(InferenceError, match="5 images at once, built for at most 4"):
        runtime.submit(images[[0, 1, 2, 0, 1]])
    runtime.close()


def test_close_frees_everything_and_may_be_repeated(load, cuda):
    runtime = load()
    assert cuda.memory
    assert len(cuda.graphs) == len(BATCHES)
    runtime.close()
    runtime.close()
    assert cuda.memory == cuda.graphs == {}


@pytest.mark.parametrize(
    ("function", "status"),
    [
        ("cudaStreamBeginCapture", ERROR.cudaErrorStreamCaptureUnsupported),
        ("cudaStreamEndCapture", ERROR.cudaErrorStreamCaptureInvalidated),
        ("cudaGraphInstantiate", ERROR.cudaErrorMemoryAllocation),
    ],
)
def test_what_cannot_be_captured_runs_without_a_graph_and_a_warning(
    load, cuda, images, reference, caplog, function, status
):
    cuda.fail[function] = status
    runtime = load()
    assert np.array_equal(runtime.infer(images[1]).query_masks, reference[1].query_masks)
    assert [r.levelname for r in caplog.records if "without a CUDA graph" in r.message] == ["WARNING"] * len(BATCHES)
    runtime.close()
    assert cuda.memory == cuda.graphs == {}


def test_run_that_tensorrt_refuses_is_an_error_of_the_frame(load, cuda, images):
    cuda.fail["cudaStreamBeginCapture"] = ERROR.cudaErrorStreamCaptureUnsupported
    runtime = load()
    cuda.fail["launch"] = ERROR.cudaErrorInvalidValue
    with pytest.raises(InferenceError, match="TensorRT failed on a frame .the reason.") as raised:
        runtime.infer(images[0])
    assert not isinstance(raised.value, RestartNeededError)
    del cuda.fail["launch"]
    runtime.infer(images[0])
    runtime.close()


def test_fall_back_is_taken_where_the_engine_loads_but_fails_on_every_frame(load, bundle, cuda, reference, images):
    """As with kernels that the driver cannot run, or memory that only a frame asks for."""
    load(verified=True).close()
    cuda.fail["cudaGraphLaunch"] = ERROR.cudaErrorNoKernelImageForDevice
    said: list[str] = []
    runtime, used = create_runtime_or_fall_back(bundle, "tensorrt", "onnxruntime", said.append, threads=1)
    assert used == "onnxruntime"
    assert re.search("FALLING BACK from tensorrt to onnxruntime.*first answer failed: .*NoKernelImage", said[0])
    assert cuda.memory == {}
    assert np.array_equal(runtime.infer(images[0]).anomaly, reference[0].anomaly)
    # Without another back end, its frames are reported as they fail.
    engine, used = create_runtime_or_fall_back(bundle, "tensorrt", "", said.append)
    assert used == "tensorrt"
    engine.close()


@pytest.mark.parametrize("captured", [True, False])
def test_lost_gpu_says_that_a_restart_is_needed_and_closes(load, cuda, images, captured):
    if not captured:
        cuda.fail["cudaStreamBeginCapture"] = ERROR.cudaErrorStreamCaptureUnsupported
    runtime = load()
    cuda.lost = ERROR.cudaErrorIllegalAddress
    for _ in range(2):
        with pytest.raises(RestartNeededError, match="restart needed"):
            runtime.infer(images[0])
    runtime.close()
    assert cuda.memory == {}


@pytest.mark.parametrize("allowed", [0, 1, 4, 17])
def test_memory_that_does_not_suffice_is_named_and_given_back(load, cuda, monkeypatch, allowed):
    allocate, calls = FakeCuda.cudaMalloc, []

    def limited(self, size):
        calls.append(size)
        return allocate(self, size) if len(calls) <= allowed else (ERROR.cudaErrorMemoryAllocation, None)

    monkeypatch.setattr(FakeCuda, "cudaMalloc", limited)
    monkeypatch.setattr(FakeCuda, "cudaMallocHost", limited)
    with pytest.raises(ModelError, match="out of GPU memory"):
        load()
    assert cuda.memory == {}
