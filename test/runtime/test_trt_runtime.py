"""What of the TensorRT runtime can be seen without a GPU: its checks. Inference has run on no hardware yet."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from m2a_core.bundle.loading import ModelBundle, load_bundle, sha256_of
from m2a_core.errors import InferenceError, ModelError, NoGpuError
from m2a_core.extras import install_command
from m2a_core.metrics.parity import Parity
from m2a_core.ops.native_code import keep_hash, make_own_folder
from m2a_core.runtime.factory import create_runtime, create_runtime_or_fall_back
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.trt.cuda import call
from m2a_core.trt.engine import check_fits
from m2a_core.trt.engine_manifest import (
    NOT_VERIFIED,
    EngineKey,
    EngineManifest,
    load_checked,
    manifest_path,
    reference_path,
)
from m2a_core.trt.gpu import Gpu, gpu_or_reason
from m2a_core.trt.plugin_build import LIBRARY, find_built, identity_of
from m2a_core.trt.reference import load_reference, save_reference
from test.tiny_bundle import write_tiny_bundle

GPU = Gpu("sm89", "RTX 4090", 24 * 2**30)
PERFECT = Parity(1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, frames=1)


@pytest.fixture
def bundle(tmp_path) -> ModelBundle:
    return load_bundle(write_tiny_bundle(tmp_path / "tiny"))


@pytest.fixture
def plugin(tmp_path) -> Path:
    path = tmp_path / "plugin.so"
    path.write_bytes(library("1"))
    return path


def library(digit: str) -> bytes:
    """A plugin library as far as it says what it was made of."""
    return b"code\0m2a-plugin-identity:" + 64 * digit.encode() + b"\0code"


@pytest.fixture
def engine(bundle, plugin) -> Path:
    """Files that hold together but no engine."""
    path = bundle.onnx_path.with_suffix(".engine")
    path.write_bytes(b"an engine")
    image = np.zeros((96, 128, 3), np.uint8)
    save_reference(reference_path(path), [image], [OnnxRuntime(bundle, threads=1).infer(image)])
    key = EngineKey(
        bundle.manifest.onnx_sha256,
        identity_of(plugin),
        "tensorrt_rtx",
        "1.0",
        "sm89",
        "",
        0,
        "fp16",
        (96, 128),
        (1, 2),
    )
    digests = sha256_of(path), sha256_of(reference_path(path))
    EngineManifest(key, *digests, ("a layer",), PERFECT, NOT_VERIFIED, 1.5).save(manifest_path(path))
    return path


def test_manifest_and_reference_come_back_as_written(engine, bundle):
    manifest = load_checked(engine)
    assert manifest.key.batches == (1, 2)
    assert not manifest.verified
    images, outputs = load_reference(reference_path(engine), manifest.reference_sha256)
    expected = OnnxRuntime(bundle, threads=1).infer(images[0])
    assert np.array_equal(outputs[0].anomaly, expected.anomaly)
    assert np.array_equal(outputs[0].query_masks, expected.query_masks)


def test_missing_engine_is_named(bundle):
    with pytest.raises(ModelError, match=r"\.engine: no such engine; build it on this machine with `m2a build-engine`"):
        create_runtime(bundle, "tensorrt")


@pytest.mark.parametrize("path_of", [Path, reference_path])
@pytest.mark.parametrize("change", ["cut", "other", "gone"])
def test_damaged_file_is_refused_by_its_hash(engine, bundle, path_of, change):
    path = path_of(engine)
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3] + (b"xyz" if change == "other" else b""))
    with pytest.raises(ModelError, match="SHA-256 is|no such engine|needs this file"):
        create_runtime(bundle, "tensorrt_rtx")


def test_engine_of_another_graph_or_back_end_is_refused(engine, bundle):
    with pytest.raises(ModelError, match="built by tensorrt_rtx .* wanted tensorrt "):
        create_runtime(bundle, "tensorrt")
    other = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, onnx_sha256="0" * 64))
    with pytest.raises(ModelError, match=r"from the graph with SHA-256 .* wanted tensorrt_rtx and 000000000000\.\.\."):
        create_runtime(other, "tensorrt_rtx")


@pytest.mark.parametrize(
    ("version", "gpu", "message"),
    [
        ("1.0", Gpu("sm120", "RTX 5090", 2**35), "it is for sm89, the GPU here is sm120 .RTX 5090."),
        ("1.0", NoGpuError("no NVIDIA driver"), "it is for sm89, here is no GPU that CUDA can use: no NVIDIA driver"),
        ("2.0", GPU, "it was built with tensorrt_rtx 1.0, here is 2.0"),
    ],
)
def test_engine_for_another_machine_is_refused_with_the_difference(engine, plugin, version, gpu, message):
    manifest = load_checked(engine)
    check_fits(manifest, engine, plugin, "1.0", GPU)
    with pytest.raises(ModelError, match=f"cannot run here: {message}"):
        check_fits(manifest, engine, plugin, version, gpu)


def test_missing_or_other_plugin_is_refused(engine, plugin):
    manifest = load_checked(engine)
    plugin.write_bytes(b"built elsewhere" + library("1"))
    check_fits(manifest, engine, plugin, "1.0", GPU)
    plugin.write_bytes(library("2"))
    with pytest.raises(ModelError, match="is of other sources, compiler or flags than it was built with"):
        check_fits(manifest, engine, plugin, "1.0", GPU)
    plugin.unlink()
    with pytest.raises(ModelError, match="its plugin library is missing"):
        check_fits(manifest, engine, plugin, "1.0", GPU)


@pytest.mark.parametrize(
    ("name", "memory", "here", "fits"),
    [
        ("Orin", 62840, Gpu("sm87", "Orin", 61369 << 20), True),
        ("Orin", 62840, Gpu("sm87", "Orin", 7620 << 20), False),
        ("NVIDIA GeForce RTX 4090", 24080, Gpu("sm89", "NVIDIA GeForce RTX 4060", 8188 << 20), False),
        ("NVIDIA A100-SXM4-40GB", 40326, Gpu("sm80", "NVIDIA A100-SXM4-80GB", 81152 << 20), False),
        ("", 0, Gpu("sm89", "NVIDIA GeForce RTX 4060", 8188 << 20), True),
    ],
)
def test_engine_whose_kernels_were_chosen_on_another_gpu_of_the_architecture_is_refused(
    engine, plugin, name, memory, here, fits
):
    manifest = load_checked(engine)
    key = dataclasses.replace(manifest.key, architecture=here.architecture, gpu=name, gpu_memory=memory)
    manifest = dataclasses.replace(manifest, key=key)
    if fits:
        check_fits(manifest, engine, plugin, "1.0", here)
        return
    gib = f"{memory / 1024:.1f}"
    with pytest.raises(ModelError, match=f"chosen on {name} with {gib} GiB, the GPU here is {here.name} with"):
        check_fits(manifest, engine, plugin, "1.0", here)
    wanted = dataclasses.replace(key, gpu=here.name, gpu_memory=here.memory >> 20)
    (difference,) = key.differences(wanted)
    assert difference.startswith(f"gpu is {name} with {gib} GiB, wanted {here.name} with ")


def test_library_that_does_not_say_what_it_was_made_of_is_refused(engine, plugin):
    plugin.write_bytes(b"of another maker")
    with pytest.raises(ModelError, match=r"plugin\.so: no plugin library of m2a, or one of an older version"):
        check_fits(load_checked(engine), engine, plugin, "1.0", GPU)
    with pytest.raises(ModelError, match="cannot read the plugin library"):
        identity_of(plugin.with_name("none.so"))


def test_a_built_plugin_is_found_by_what_it_is_made_of(tmp_path):
    cache = tmp_path / "cache"
    built, altered, foreign = (cache / f"plugin-{i}" / LIBRARY for i in range(3))
    for path, content in ((built, library("4")), (altered, library("5")), (foreign, library("3"))):
        make_own_folder(path.parent)
        path.write_bytes(content)
        if path != foreign:
            keep_hash(path)
    altered.write_bytes(library("6"))
    assert find_built("4" * 64, cache) == built
    assert [find_built(digit * 64, cache) for digit in "0356"] == [None] * 4


def without_precision(data):
    del data["key"]["precision"]


def with_a_key_too_many(data):
    data["speed"] = 1


def of_another_format(data):
    data["format_version"] = 1


def with_text_for_numbers(data):
    data["key"]["batches"] = "1,2"


def with_a_word_of_its_own(data):
    data["verification"] = "surely"


def with_a_number_for_text(data):
    data["key"]["version"] = 1.0


def with_text_in_the_parity(data):
    data["parity"]["max_error"] = "small"


@pytest.mark.parametrize(
    "change",
    [
        without_precision,
        with_a_key_too_many,
        of_another_format,
        with_text_for_numbers,
        with_a_word_of_its_own,
        with_a_number_for_text,
        with_text_in_the_parity,
    ],
)
def test_manifest_that_does_not_fit_is_refused(engine, change):
    path = manifest_path(engine)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match=r"engine\.json: .*--rebuild"):
        load_checked(engine)


def test_manifest_that_is_no_json_is_refused(engine):
    manifest_path(engine).write_text("{")
    with pytest.raises(ModelError, match="cannot read the engine's manifest"):
        load_checked(engine)


def test_reference_with_objects_in_it_is_refused(engine):
    path = reference_path(engine)
    np.savez(path, images=np.array([{}], dtype=object))
    with pytest.raises(ModelError, match="cannot read the engine's reference frames"):
        load_reference(path, sha256_of(path))


def test_cuda_without_a_gpu_is_a_named_error():
    if importlib.util.find_spec("cuda") is None:
        with pytest.raises(ModelError, match=re.escape(install_command("trt"))):
            call("cudaMalloc", 16)
    elif isinstance(gpu_or_reason(0), NoGpuError):
        with pytest.raises(InferenceError, match="cudaMalloc failed: cudaError"):
            call("cudaMalloc", 16)
    assert isinstance(gpu_or_reason(99), NoGpuError)


def test_fall_back_only_where_configured_and_loudly(bundle):
    said: list[str] = []
    with pytest.raises(ModelError, match="no such engine"):
        create_runtime_or_fall_back(bundle, "tensorrt", "", said.append)
    assert said == []
    runtime, used = create_runtime_or_fall_back(bundle, "tensorrt", "onnxruntime", said.append, threads=1)
    assert used == "onnxruntime"
    assert isinstance(runtime, OnnxRuntime)
    assert "FALLING BACK from tensorrt to onnxruntime" in said[0]
    assert "no such engine" in said[0]


def test_back_end_that_works_is_kept_without_a_word(bundle):
    said: list[str] = []
    assert create_runtime_or_fall_back(bundle, "onnxruntime", "tensorrt", said.append, threads=1)[1] == "onnxruntime"
    assert said == []
