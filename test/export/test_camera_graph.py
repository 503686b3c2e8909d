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

from m2a_core.bundle.camera_image import CameraImage
from m2a_core.bundle.decision import Decision
from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.bundle.manifest import Manifest
from m2a_core.cli.export import parse_camera
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.errors import ConfigError, DataError, ExportError
from m2a_core.export.camera_graph import camera_graph, resampling, write_camera_bundle
from m2a_core.export.quantize import quantise_bundle
from m2a_core.openset.head import OpenSetHead
from m2a_core.perception import Perception
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.types import Frame, Output
from test.tiny_bundle import write_tiny_bundle

SIZES = [(96, 128), (192, 256), (384, 512), (120, 213), (61, 47), (270, 480)]


def picture(size: tuple[int, int]) -> np.ndarray:
    """Patches of the colours that the tiny network knows, red among them, with soft edges."""
    rng = np.random.default_rng(size[0])
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    return cv2.resize(colors[rng.integers(0, 3, (6, 8))], size[::-1], interpolation=cv2.INTER_LINEAR)


def run(model: onnx.ModelProto, image: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image[None]}), strict=True))


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
    unlike = got["open_set"][0] != want.open_set
    assert (np.abs(want.score[unlike] - manifest.thresholds.anomaly) < 1e-5).all()
    assert len(np.unique(got["open_set"])) > 2, "a mask of one class would prove nothing"


def seeing(input_size: tuple[int, int]) -> onnx.ModelProto:
    """A network that casts its image, and constant maps."""
    height, width = input_size
    full = [1, height, width]
    types = {
        "anomaly": TensorProto.FLOAT,
        "refined": TensorProto.FLOAT,
        "background": TensorProto.FLOAT,
        "semantic": TensorProto.UINT8,
    }
    nodes = [helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, full, [0] * (height * width)))
        for name, kind in types.items()
    ]
    outputs = [helper.make_tensor_value_info(name, kind, full) for name, kind in types.items()]
    outputs.append(helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [*full, 3]))
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
    got = run(camera_graph(seeing(manifest.input_size), manifest, size), image)
    want = Letterbox(manifest.input_size).apply(image)[0]
    assert np.abs(got["numbers"][0] - want).max() <= grey_levels
    np.testing.assert_array_equal(got["seen"], got["numbers"])


@pytest.fixture(scope="module")
def camera_bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """Of a camera of 256x180, bgr8: scaled, with padding."""
    bundle = load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"))
    out, equal = write_camera_bundle(bundle, (180, 256), "bgr8", [picture((180, 256))])
    assert out.name == "tiny.256x180"
    assert equal > 0.98
    return load_bundle(out)


def test_a_camera_s_bundle_gives_what_the_plain_one_gives(camera_bundle: ModelBundle) -> None:
    plain = load_bundle(camera_bundle.directory.with_name("tiny"))
    frame = Frame(picture((180, 256)))
    sides = [Perception(b.manifest, OnnxRuntime(b, 1), horizon=False) for b in (camera_bundle, plain)]
    got, want = (side.infer(frame) for side in sides)
    for output in (Output.OPEN_SET, Output.SEMANTIC, Output.PANOPTIC):
        assert (getattr(got, output.value) == getattr(want, output.value)).mean() > 0.98, output
    assert len(got.instances) == len(want.instances) > 0
    assert got.horizon is None


def test_the_graph_s_own_mask_is_taken_while_the_threshold_is_the_graph_s(camera_bundle: ModelBundle) -> None:
    runtime, manifest = OnnxRuntime(camera_bundle, 1), camera_bundle.manifest
    frame = Frame(picture((180, 256)))
    moved = replace(manifest, thresholds=replace(manifest.thresholds, anomaly=2.0))
    for used, is_taken in ((manifest, True), (moved, False)):
        perception = Perception(used, runtime)
        result, network = perception.infer_raw(frame, frozenset({Output.OPEN_SET}), raw=False)
        assert (result.open_set is network.open_set) is is_taken
        assert (result.open_set == manifest.labels.unknown_id).any() is np.bool_(is_taken)


def test_an_image_of_another_size_is_refused(camera_bundle: ModelBundle) -> None:
    perception = Perception(camera_bundle.manifest, OnnxRuntime(camera_bundle, 1))
    with pytest.raises(DataError, match=r"image is 128x96, .* takes a camera's images of 256x180 only"):
        perception.infer(Frame(picture((96, 128))))


def test_bgr_pixels_go_to_the_graph_without_a_copy() -> None:
    bgr = picture((6, 8))
    assert np.shares_memory(CameraImage((6, 8), "bgr8", 0.5).of(bgr[..., ::-1]), bgr)
    rgb = CameraImage((6, 8), "rgb8", 0.5).of(bgr)
    assert rgb is bgr


def test_a_camera_s_bundle_is_not_quantised(camera_bundle: ModelBundle, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="quantise the bundle that it was made of"):
        quantise_bundle(camera_bundle, [picture((180, 256))] * 8, tmp_path / "q", print)


def test_export_writes_the_bundle_of_a_camera_beside_the_other(exported: Path) -> None:
    bundle, camera = load_bundle(exported), load_bundle(exported.with_name("small-bundle.130x60"))
    rgb = picture((60, 130))
    got, want = (Perception(b.manifest, OnnxRuntime(b), horizon=False).infer(Frame(rgb)) for b in (camera, bundle))
    assert (got.open_set == want.open_set).mean() > 0.98
    assert camera.manifest.camera == CameraImage((60, 130), "bgr8", bundle.manifest.thresholds.anomaly)
    assert Manifest.from_json(camera.manifest.to_json()) == camera.manifest


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
