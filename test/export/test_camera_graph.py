"""A graph from a camera's own image to the open-set mask against what the CPU makes of the same image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from m2a_core.bundle.decision import Decision
from m2a_core.bundle.loading import load_bundle
from m2a_core.cli.export import parse_camera
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ConfigError, ExportError
from m2a_core.export.camera_graph import camera_graph, resampling
from m2a_core.openset.head import OpenSetHead
from m2a_core.perception import Perception
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.types import Frame, Output

SIZES = [(96, 128), (192, 256), (384, 512), (120, 213), (61, 47), (270, 480)]


def picture(size: tuple[int, int]) -> np.ndarray:
    """Patches of the colours that the tiny network knows, red among them, with soft edges."""
    rng = np.random.default_rng(size[0])
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    return cv2.resize(colors[rng.integers(0, 3, (6, 8))], size[::-1], interpolation=cv2.INTER_LINEAR)


def run(model: onnx.ModelProto, image: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"camera_image": image[None], **more}), strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decision", Decision)
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_the_mask_is_the_cpu_s_of_the_same_tensors(
    tiny: Path, size: tuple[int, int], decision: Decision, encoding: str
) -> None:
    bundle = load_bundle(tiny)
    manifest = replace(bundle.manifest, decision=decision)
    rgb = picture(size)
    got = run(
        camera_graph(onnx.load(bundle.onnx_path), manifest, size, encoding),
        rgb if encoding == "rgb8" else rgb[..., ::-1].copy(),
    )
    net = NetworkOutput(**{name: got[name][0] for name in NetworkOutput.__annotations__ if name in got})
    head = OpenSetHead(manifest.labels, manifest.thresholds, decision=decision)
    want = head.compute(net, Letterbox(manifest.input_size).geometry(*size), frozenset({Output.SCORE, Output.OPEN_SET}))
    assert np.abs(got["score"][0] - want.score).max() < 1e-5
    unlike = got["open_set"][0] != want.open_set
    assert (np.abs(want.score[unlike] - manifest.thresholds.anomaly) < 1e-5).all()
    assert len(np.unique(got["open_set"])) > 2, "a mask of one class would prove nothing"


def seeing(input_size: tuple[int, int]) -> onnx.ModelProto:
    """A network that gives back the image that it is shown, and constant maps."""
    height, width = input_size
    full = [1, height, width]
    types = {
        "anomaly": TensorProto.FLOAT,
        "refined": TensorProto.FLOAT,
        "background": TensorProto.FLOAT,
        "semantic": TensorProto.UINT8,
    }
    nodes = [helper.make_node("Cast", ["image"], ["seen"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, full, [0] * (height * width)))
        for name, kind in types.items()
    ]
    outputs = [helper.make_tensor_value_info(name, kind, full) for name, kind in types.items()]
    outputs.append(helper.make_tensor_value_info("seen", TensorProto.FLOAT, [*full, 3]))
    graph = helper.make_graph(
        nodes, "seeing", [helper.make_tensor_value_info("image", TensorProto.UINT8, [*full, 3])], outputs
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("size", "grey_levels"),
    [
        ((96, 128), 0),
        ((192, 256), 1),
        ((384, 512), 2),
        ((768, 1024), 3),
        ((120, 213), 1),
        ((61, 47), 1),
        ((270, 480), 1),
    ],
)
def test_the_network_sees_the_cpu_s_letterbox_to_the_stated_grey_levels(
    tiny: Path, size: tuple[int, int], grey_levels: int
) -> None:
    manifest = load_bundle(tiny).manifest
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    got = run(camera_graph(seeing(manifest.input_size), manifest, size), image)["seen"][0]
    want = Letterbox(manifest.input_size).apply(image)[0]
    assert np.abs(got - want).max() <= grey_levels
    assert (got == np.round(got)).all()


def test_the_threshold_may_be_moved(tiny: Path) -> None:
    bundle = load_bundle(tiny)
    model = camera_graph(onnx.load(bundle.onnx_path), bundle.manifest, (96, 128))
    masks = [run(model, picture((96, 128)), threshold=np.array(value, np.float32))["open_set"] for value in (-1.0, 2.0)]
    assert (masks[0] == bundle.manifest.labels.unknown_id).all()
    assert (masks[1] != bundle.manifest.labels.unknown_id).all()


def test_export_writes_the_graph_of_a_camera_beside_the_bundle_s(exported: Path) -> None:
    bundle = load_bundle(exported)
    rgb = picture((60, 130))
    session = ort.InferenceSession(exported / "small-bundle.130x60.onnx", providers=["CPUExecutionProvider"])
    (mask,) = session.run(["open_set"], {"camera_image": rgb[None, ..., ::-1].copy()})
    want = Perception(bundle.manifest, OnnxRuntime(bundle), horizon=False).infer(Frame(rgb)).open_set
    assert (mask[0] == want).mean() > 0.98


@pytest.mark.parametrize("text", ["1920", "1920x", "0x1080", "1920x1080x3"])
def test_a_camera_s_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected WIDTHxHEIGHT"):
        parse_camera(text)


def test_a_graph_that_is_no_network_of_m2a_is_refused(tiny: Path) -> None:
    model = seeing((96, 128))
    model.graph.node[0].op_type = "Relu"
    with pytest.raises(ExportError, match="goes into Relu"):
        camera_graph(model, load_bundle(tiny).manifest, (96, 128))


@pytest.mark.parametrize(("source", "target", "average"), [(1080, 270, True), (720, 270, True), (30, 41, False)])
def test_a_line_is_resampled_as_opencv_does(source: int, target: int, average: bool) -> None:
    line = np.random.default_rng(0).random((source, 3)).astype(np.float32)
    how = cv2.INTER_AREA if average else cv2.INTER_LINEAR
    want = cv2.resize(line, (3, target), interpolation=how)
    np.testing.assert_allclose(resampling(source, target, average) @ line, want, atol=1e-5)
