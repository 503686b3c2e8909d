"""The ONNX Runtime back end on a graph whose answers are known."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as pybind

from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.contract.io_spec import OUTPUTS, RAW_OUTPUTS
from m2a_core.errors import ConfigError, DataError, InferenceError, ModelError
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.runtime.factory import create_runtime
from test.tiny_bundle import RED, class_logits, tiny_colors, write_tiny_bundle

COLORS = tiny_colors()


@pytest.fixture
def bundle(tmp_path) -> ModelBundle:
    return load_bundle(write_tiny_bundle(tmp_path / "tiny"))


def rewrite(bundle: ModelBundle, data: bytes) -> ModelBundle:
    """The bundle with other bytes for its graph and a manifest that vouches for them."""
    bundle.onnx_path.write_bytes(data)
    manifest = dataclasses.replace(bundle.manifest, onnx_sha256=hashlib.sha256(data).hexdigest())
    (bundle.directory / "manifest.json").write_text(manifest.to_json())
    return load_bundle(bundle.directory)


def plain(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((96, 128, 3), color, np.uint8)


def test_outputs_have_the_names_dtypes_and_shapes_of_the_contract(bundle):
    out = create_runtime(bundle).infer(plain(RED), raw=True)
    sizes = {"H": 96, "W": 128, "h": 24, "w": 32, "Q": 12, "K+1": 12}
    for spec in OUTPUTS + RAW_OUTPUTS:
        value = getattr(out, spec.name)
        assert value.dtype == np.dtype(spec.dtype)
        assert value.shape == tuple(sizes[axis] for axis in spec.shape[1:])


@pytest.mark.parametrize("name", CAMVID11.names)
def test_class_colour_is_recognised(bundle, name):
    out = create_runtime(bundle, threads=1).infer(plain(COLORS[name]))
    index = CAMVID11.names.index(name)
    assert (out.semantic == index).all()
    assert (out.winning_query == index).all()
    assert out.anomaly.max() < 0.01
    assert out.background.max() < 0.01


@pytest.mark.parametrize("color", [RED, (10, 10, 140)], ids=["red", "no query's colour"])
def test_other_colours_are_anomalous(bundle, color):
    out = create_runtime(bundle).infer(plain(color))
    assert out.anomaly.min() > 0.98
    assert out.refined.min() > 0.98
    assert out.background.min() > 0.98
    assert out.query_masks.any() == (color == RED)


def test_raw_tensors_come_only_when_asked_for(bundle):
    runtime = create_runtime(bundle)
    assert runtime.infer(plain(RED)).mask_logits is None
    raw = runtime.infer(plain(RED), raw=True)
    assert np.array_equal(raw.class_logits, class_logits())
    assert np.array_equal(raw.mask_logits >= 0, raw.query_masks)


def test_results_repeat_bit_for_bit(bundle):
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    first, second = (create_runtime(bundle, threads=2).infer(image, raw=True) for _ in range(2))
    for spec in OUTPUTS + RAW_OUTPUTS:
        assert np.array_equal(getattr(first, spec.name), getattr(second, spec.name))


def test_image_that_is_not_contiguous_is_read_right(bundle):
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    runtime = create_runtime(bundle)
    flipped = image[:, ::-1]
    assert np.array_equal(runtime.infer(flipped).anomaly, runtime.infer(flipped.copy()).anomaly)


@pytest.mark.parametrize("shape", [(96, 127, 3), (128, 96, 3), (96, 128, 4)])
def test_image_of_another_size_is_refused(bundle, shape):
    with pytest.raises(DataError, match=r"network input: expected uint8 \[96, 128, 3\]"):
        create_runtime(bundle).infer(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\x00" * 99, lambda b: b[9:]])
def test_file_that_is_no_graph_is_refused_though_the_hash_fits(bundle, damage):
    damaged = damage(bundle.onnx_path.read_bytes())
    with pytest.raises(
        ModelError, match=r"tiny\.onnx: (not a readable ONNX file|ONNX Runtime .* cannot load|no input)"
    ):
        create_runtime(rewrite(bundle, damaged))


def test_graph_that_lacks_an_output_is_refused(bundle):
    graph = onnx.load(bundle.onnx_path)
    kept = [o for o in graph.graph.output if o.name != "winning_query"]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    with pytest.raises(ModelError, match="no output named 'winning_query'"):
        create_runtime(rewrite(bundle, graph.SerializeToString()))


def test_graph_with_an_output_of_another_dtype_is_refused(bundle):
    graph = onnx.load(bundle.onnx_path)
    for node in graph.graph.node:
        if node.output[0] == "semantic":
            node.attribute[0].i = TensorProto.INT32
    for output in graph.graph.output:
        if output.name == "semantic":
            output.type.tensor_type.elem_type = TensorProto.INT32
    with pytest.raises(ModelError, match=r"output 'semantic' is tensor\(int32\).*expect tensor\(uint8\)"):
        create_runtime(rewrite(bundle, graph.SerializeToString()))


@pytest.mark.parametrize(
    "wrong", [{"input_size": (96, 160)}, {"num_queries": 13}, {"labels": CITYSCAPES19}], ids=lambda w: next(iter(w))
)
def test_manifest_of_another_graph_is_refused(bundle, wrong):
    manifest = dataclasses.replace(bundle.manifest, **wrong)
    with pytest.raises(ModelError, match="the manifest belongs to another graph"):
        create_runtime(dataclasses.replace(bundle, manifest=manifest))


def test_graph_without_raw_outputs_runs_and_says_so_when_they_are_wanted(bundle):
    graph = onnx.load(bundle.onnx_path)
    kept = [o for o in graph.graph.output if not o.name.endswith("_logits")]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    runtime = create_runtime(rewrite(bundle, graph.SerializeToString()))
    assert runtime.infer(plain(RED)).anomaly.min() > 0.98
    with pytest.raises(ModelError, match=r"has no outputs \['class_logits', 'mask_logits'\]"):
        runtime.infer(plain(RED), raw=True)


def test_backend_and_threads_are_checked(bundle):
    with pytest.raises(ConfigError, match="back end 'abacus': expected one of onnxruntime"):
        create_runtime(bundle, "abacus")
    with pytest.raises(ConfigError, match="threads: expected at least 1, got 0"):
        create_runtime(bundle, threads=0)


def test_loading_leaves_no_file_behind(bundle):
    create_runtime(bundle).infer(plain(RED))
    assert sorted(p.name for p in Path(bundle.directory).iterdir()) == ["manifest.json", "tiny.onnx"]


@pytest.mark.parametrize("name", ["anomaly", "refined", "background", "class_probs"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_an_error_and_never_known_ground(bundle, name, value):
    model = onnx.load(bundle.onnx_path)
    for node in model.graph.node:
        node.output[:] = [f"{name}_before" if output == name else output for output in node.output]
    extra = onnx.numpy_helper.from_array(np.float32(value), "poison")
    model.graph.initializer.append(extra)
    model.graph.node.append(onnx.helper.make_node("Add", [f"{name}_before", "poison"], [name]))
    runtime = create_runtime(rewrite(bundle, model.SerializeToString()))
    with pytest.raises(InferenceError, match=rf"tiny\.onnx: output '{name}' holds NaN or infinite values"):
        runtime.infer(plain(RED))


def test_provider_that_fails_on_a_frame_is_not_replaced_by_another_one_in_silence(bundle, monkeypatch, capsys):
    made: list[object] = []

    class Session(pybind.InferenceSession):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

        def run(self, *arguments):
            # As ONNX Runtime's own: the first session fails, the one that would take its place does not.
            if self is made[0]:
                raise pybind.EPFail("the GPU is gone")
            return super().run(*arguments)

    monkeypatch.setattr("onnxruntime.capi.onnxruntime_inference_collection.C.InferenceSession", Session)
    runtime = create_runtime(bundle, threads=1)
    with pytest.raises(InferenceError, match="the GPU is gone"):
        runtime.infer(plain(RED))
    assert len(made) == 1
    assert capsys.readouterr().out == ""
