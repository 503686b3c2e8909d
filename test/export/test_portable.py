"""One graph for several users: the deformable attention's node, its body, precisions and batches."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from m2a_core.bundle.camera_image import CameraImage
from m2a_core.bundle.loading import ModelBundle, load_bundle, sha256_of
from m2a_core.contract.io_spec import FULL_MASKS, OUTPUTS, RAW_OUTPUTS
from m2a_core.errors import ConfigError, ExportError, InferenceError, ModelError
from m2a_core.export.camera_graph import camera_graph
from m2a_core.export.network import ExportedNetwork
from m2a_core.export.onnx_export import ExportOptions, build_onnx
from m2a_core.export.verify import verify_batches, verify_precision
from m2a_core.model.backbones import BACKBONES
from m2a_core.model.backbones.swin import SWIN_T, Swin
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.trt.precision import convert
from test.export.conftest import SIZE, SMALL, pictures, small_network
from test.made_once import made_once

BATCH = 3


def load(graph: onnx.ModelProto, like: ModelBundle, directory) -> OnnxRuntime:
    """A runtime of another graph of the same network."""
    path = directory / "graph.onnx"
    onnx.save(graph, path)
    manifest = dataclasses.replace(like.manifest, onnx_sha256=sha256_of(path))
    return OnnxRuntime(dataclasses.replace(like, onnx_path=path, manifest=manifest), threads=1)


@pytest.fixture(scope="module")
def bundle(exported) -> ModelBundle:
    return load_bundle(exported)


@pytest.fixture(scope="module")
def swin() -> ExportedNetwork:
    """The small network behind Swin, whose windows are the hardest to cut out of a batch; also puts out full masks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "swin_tiny", lambda: Swin(dataclasses.replace(SWIN_T, depths=(2, 1, 1, 1))))
        return small_network(config=dataclasses.replace(SMALL, backbone="swin_tiny"), full_masks=True)


@pytest.fixture(scope="module")
def batched(tmp_path_factory, swin) -> onnx.ModelProto:
    def make(folder: Path) -> None:
        onnx.save(build_onnx(swin, {}, ExportOptions(max_batch=BATCH)), folder / "batched.onnx")

    return onnx.load(made_once(tmp_path_factory, "batched", make) / "batched.onnx")


def test_deformable_attention_is_one_node_a_layer_with_the_attributes_of_the_plugin(bundle):
    model = onnx.load(bundle.onnx_path)
    (node,) = [n for n in model.graph.node if n.domain == "m2a"]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert attributes == {
        "num_heads": 2,
        "num_points": 4,
        "spatial_shapes": [3, 4, 6, 8],
        "plugin_version": b"1",
        "plugin_namespace": b"",
    }
    assert list(model.functions[0].input) == ["value", "projection"]


def test_without_its_body_the_node_is_unknown_to_onnx_runtime(bundle, tmp_path):
    model = onnx.load(bundle.onnx_path)
    del model.functions[:]
    with pytest.raises(ModelError, match="MSDeformAttn"):
        load(model, bundle, tmp_path)


def test_layers_are_named_after_the_modules_they_come_from(bundle):
    names = [node.name for node in onnx.load(bundle.onnx_path).graph.node]
    assert any(name.startswith("model.pixel_decoder.layers.0.attention/") for name in names)
    assert any(name.startswith("heads/") for name in names)
    assert len(set(names)) == len(names)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    found = {v.name: v.type.tensor_type.elem_type for v in (*inferred.graph.value_info, *inferred.graph.output)}
    return found | {t.name: t.data_type for t in inferred.graph.initializer}


def test_mixed_precision_keeps_softmax_norms_and_maps_single_and_the_rest_half(bundle):
    model = convert(onnx.load(bundle.onnx_path), "mixed")
    onnx.checker.check_model(model, full_check=True)
    types = element_types(model)
    kinds: dict[str, set[int]] = {}
    for node in model.graph.node:
        scope = "network" if node.name.startswith("model") else "around"
        kinds.setdefault(f"{scope}:{node.op_type}", set()).add(types[node.output[0]])
    assert kinds["network:Conv"] == kinds["network:MatMul"] == kinds["network:MSDeformAttn"] == {TensorProto.FLOAT16}
    assert kinds["network:Softmax"] == kinds["network:LayerNormalization"] == {TensorProto.FLOAT}
    assert kinds["around:Conv"] == kinds["around:MatMul"] == {TensorProto.FLOAT}
    # TensorRT computes it in single precision inside, and fuses it with its neighbours where no cast is in between.
    assert kinds["network:InstanceNormalization"] == {TensorProto.FLOAT16}


def test_mixed_precision_normalises_the_image_without_rounding_in_between(bundle):
    model = convert(onnx.load(bundle.onnx_path), "mixed")
    users = {name: node for node in model.graph.node for name in node.input}
    met, tensor = [], model.graph.input[0].name
    # The first convolution may have taken the padding into itself.
    while (node := users[tensor]).op_type not in ("Pad", "Conv"):
        met.append(node)
        tensor = node.output[0]
    assert [node.op_type for node in met if node.op_type in ("Sub", "Mul")] == ["Sub", "Mul"]
    halves = [node for node in met if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16]
    assert all(node in met[-1:] for node in halves)


def test_half_precision_is_half_everywhere_but_at_the_outputs(bundle):
    model = convert(onnx.load(bundle.onnx_path), "fp16")
    onnx.checker.check_model(model, full_check=True)
    types = element_types(model)
    outputs = {output.name for output in model.graph.output}
    single = {n.output[0] for n in model.graph.node if types[n.output[0]] == TensorProto.FLOAT} - outputs
    # Resize reads its scales in single precision whatever it resizes.
    assert {n.op_type for n in model.graph.node if single & {*n.output}} <= {"Cast"}


@pytest.mark.parametrize("precision", ["mixed", "fp16"])
def test_reduced_precision_says_what_pytorch_says(bundle, tmp_path, precision):
    runtime = load(convert(onnx.load(bundle.onnx_path), precision), bundle, tmp_path)
    parity = verify_precision(runtime, small_network(), pictures(3, seed=4), precision)
    assert 0 < parity.max_error < 0.1
    assert parity.auprc_loss < 0.01


def test_reduced_precision_of_other_weights_is_refused(bundle, tmp_path):
    runtime = load(convert(onnx.load(bundle.onnx_path), "mixed"), bundle, tmp_path)
    with pytest.raises(ExportError, match="precision 'mixed' is too far from PyTorch on 2 frames .*rank_correlation"):
        verify_precision(runtime, small_network(seed=1), pictures(2), "mixed")


def test_every_batch_gives_what_its_images_give_alone(batched, bundle, tmp_path):
    runtime = load(batched, bundle, tmp_path)
    report = verify_batches(runtime, pictures(3), BATCH)
    assert {entry.name for entry in report} == {spec.name for spec in (*OUTPUTS, *RAW_OUTPUTS, FULL_MASKS)}
    images = np.zeros((BATCH, *SIZE, 3), np.uint8)
    assert len(runtime.submit(images).result()) == BATCH


def test_a_camera_s_graph_takes_the_batches_of_the_graph_that_it_is_made_of(batched, bundle, tmp_path):
    camera = CameraImage((60, 130), "rgb8", bundle.manifest.thresholds.anomaly)
    like = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, camera=camera))
    runtime = load(camera_graph(batched, bundle.manifest, camera.size), like, tmp_path)
    verify_batches(runtime, pictures(3), BATCH)
    images = [Letterbox(camera.size).apply(picture)[0] for picture in pictures(BATCH)]
    for image, together in zip(images, runtime.submit(np.stack(images)).result(), strict=True):
        alone = runtime.infer(image)
        np.testing.assert_array_equal(together.seen, alone.seen)
        assert (together.open_set == alone.open_set).mean() > 0.999
        assert together.open_set.shape == camera.size


def test_batch_that_leaks_from_image_to_image_is_refused(batched, bundle, tmp_path):
    leaking = onnx.ModelProto()
    leaking.CopyFrom(batched)
    for node in leaking.graph.node:
        node.output[:] = ["own" if name == "anomaly" else name for name in node.output]
        node.input[:] = ["own" if name == "anomaly" else name for name in node.input]
    leaking.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "first_axis"))
    leaking.graph.node.append(helper.make_node("ReduceMean", ["own", "first_axis"], ["anomaly"], keepdims=1))
    leaking.graph.node[-1].output[0] = "over_the_batch"
    leaking.graph.node.append(helper.make_node("Add", ["own", "over_the_batch"], ["anomaly"]))
    with pytest.raises(ExportError, match="other results for batches than for single images .*anomaly"):
        verify_batches(load(leaking, bundle, tmp_path), pictures(3), BATCH)


def test_graph_for_one_image_refuses_two(bundle):
    with pytest.raises(InferenceError, match="ONNX Runtime failed"):
        OnnxRuntime(bundle, threads=1).submit(np.zeros((2, *SIZE, 3), np.uint8))


def test_full_masks_are_the_upsampled_masks(batched, bundle, tmp_path):
    image, _ = Letterbox(SIZE).apply(pictures(1)[0])
    output = load(batched, bundle, tmp_path).infer(image, raw=True)
    assert output.full_masks is not None
    assert output.full_masks.shape == (5, *SIZE)
    logits = torch.nn.functional.interpolate(
        torch.from_numpy(output.mask_logits)[None], size=SIZE, mode="bilinear", align_corners=False
    )[0]
    # At the right and lower edge the graph sees one more cell, of the padding.
    inner = (slice(None), slice(0, SIZE[0] - 2), slice(0, SIZE[1] - 2))
    assert (output.full_masks[inner] == (logits.numpy()[inner] >= 0)).mean() > 0.9999


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": "bf16"}, "precision 'bf16'"), ({"max_batch": 0}, "batch 0"), ({"max_batch": 65}, "batch 65")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ExportOptions(**options)


def says_what_pytorch_says(graph: onnx.ModelProto, network: ExportedNetwork) -> None:
    image = torch.from_numpy(Letterbox(network.input_size).apply(pictures(1)[0])[0])[None]
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(image)
    outputs = OUTPUTS + RAW_OUTPUTS + ((FULL_MASKS,) if network.full_masks else ())
    for spec, want, have in zip(outputs, expected, session.run(None, {"image": image.numpy()}), strict=True):
        if spec.dtype == "float32" and spec.name != "refined":
            assert np.abs(want.numpy() - have).max() < 2e-3, spec.name


@pytest.mark.slow
def test_the_papers_network_exports_and_runs(papers_graph, papers_network):
    says_what_pytorch_says(onnx.load(papers_graph), papers_network)


def test_a_network_with_swin_exports_and_runs(batched, swin):
    says_what_pytorch_says(batched, swin)
