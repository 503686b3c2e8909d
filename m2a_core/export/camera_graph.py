"""A bundle whose graph takes a camera's own image: letterbox, colours and open-set mask run where the network runs.

Around a bundle's graph it has what else the CPU does: the letterbox and the colours before, upsampling and threshold
(Eq. 16) behind, all as operators that an accelerator runs too. The network sees an image within one grey level of the
CPU's letterbox, and one more for each time that this halves the image; from equal tensors the mask is equal but for
pixels whose score lies within 1e-5 of the threshold.

On a processor the graph costs more than it saves, for its letterbox is made of matrix products. Run by ONNX Runtime on
a CPU only; not verified on hardware.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from m2a_core.bundle.camera_image import ENCODINGS, CameraImage
from m2a_core.bundle.decision import Decision
from m2a_core.bundle.loading import ModelBundle, load_bundle, sha256_of
from m2a_core.bundle.manifest import FILE_NAME, Manifest
from m2a_core.bundle.signing import remove_signature
from m2a_core.contract.io_spec import CAMERA_OUTPUTS, INPUT
from m2a_core.errors import ExportError
from m2a_core.metrics.parity import MIN_EQUAL
from m2a_core.openset.decision import SUPPRESSED
from m2a_core.perception import Perception
from m2a_core.preprocess import PADDING_COLOR, Geometry, Letterbox
from m2a_core.resize import resized
from m2a_core.runtime.onnx_runtime import OnnxRuntime
from m2a_core.types import Frame, Output

_SEEN, _OPEN_SET = (spec.name for spec in CAMERA_OUTPUTS)


def camera_graph(
    network: onnx.ModelProto, manifest: Manifest, size: tuple[int, int], encoding: str = ENCODINGS[0]
) -> onnx.ModelProto:
    """Put a bundle's graph between a letterbox and the open-set mask.

    Args:
        network: the bundle's graph.
        manifest: of the bundle.
        size: H0, W0 of the camera's images.
        encoding: of the camera's images, ``rgb8`` or ``bgr8``.

    Returns:
        A graph for as many images as the bundle's, with ``io_spec.CAMERA_INPUT`` as its input and
        ``io_spec.CAMERA_OUTPUTS`` beside the outputs that the bundle's graph has.

    Raises:
        ExportError: the graph does other things with its image than to transpose and cast it.
    """
    geometry = Letterbox(manifest.input_size).geometry(*size)
    graph = onnx.ModelProto()
    graph.CopyFrom(network)
    batch = graph.graph.output[0].type.tensor_type.shape.dim[0]
    first = batch.dim_param or batch.dim_value
    before, behind = _Section("letterbox"), _Section("open_set")
    image = _letterbox(before, geometry, manifest.input_size, encoding == "bgr8")
    _feed(graph.graph, image)
    _open_set(behind, geometry, manifest)
    nodes = [*before.nodes, *graph.graph.node, *behind.nodes]
    del graph.graph.node[:], graph.graph.input[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend([*before.constants, *behind.constants])

    def bytes_of(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.UINT8, [first, *shape])

    graph.graph.input.append(bytes_of(INPUT.name, *size, 3))
    graph.graph.output.extend([bytes_of(_SEEN, *manifest.input_size, 3), bytes_of(_OPEN_SET, *size)])
    for entry in graph.metadata_props:
        if entry.key == "m2a.input_size":
            entry.value = f"{size[0]}x{size[1]}"
    graph.metadata_props.add(key="m2a.camera", value=f"{size[1]}x{size[0]} {encoding}")
    onnx.checker.check_model(graph)
    return graph


def write_camera_bundle(
    bundle: ModelBundle, size: tuple[int, int], encoding: str, frames: Sequence[np.ndarray]
) -> tuple[Path, float]:
    """Write the bundle of a camera beside another one, once it gives what that gives on the CPU.

    Args:
        bundle: the bundle.
        size: H0, W0 of the camera's images.
        encoding: of the camera's images.
        frames: uint8 [H, W, 3] RGB each, to compare on.

    Returns:
        The new bundle's directory, and the share of pixels with the same class or unknown in the worst frame.

    Raises:
        ExportError: the graph cannot be made or written, or too few pixels are the same.
    """
    name = f"{bundle.directory.resolve().name}.{size[1]}x{size[0]}"
    out = bundle.directory.resolve().with_name(name)
    model = camera_graph(onnx.load(bundle.onnx_path), bundle.manifest, size, encoding)
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}.") as temporary:
            staged = Path(temporary)
            (staged / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
            manifest = replace(
                bundle.manifest,
                name=name,
                onnx_file=f"{name}.onnx",
                onnx_sha256=sha256_of(staged / f"{name}.onnx"),
                camera=CameraImage(size, encoding, bundle.manifest.thresholds.anomaly),
            )
            (staged / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
            equal = _equal_share(load_bundle(staged), bundle, frames)
            if equal < MIN_EQUAL:
                raise ExportError(
                    f"{name}: {equal:.2%} of a frame's pixels are as the CPU has them, expected {MIN_EQUAL:.0%}; the "
                    "network's answers depend on single grey levels of its image"
                )
            out.mkdir(exist_ok=True)
            remove_signature(out)
            # The manifest comes last: until then the old one's hash refuses the new graph.
            for file in (f"{name}.onnx", FILE_NAME):
                (staged / file).replace(out / file)
    except OSError as error:
        raise ExportError(f"{out}: cannot write the camera's bundle ({error})") from error
    return out, equal


def _equal_share(got: ModelBundle, reference: ModelBundle, frames: Sequence[np.ndarray]) -> float:
    """The smallest share of a frame's pixels that have the same class or unknown in both."""
    assert got.manifest.camera is not None
    sides = [Perception(side.manifest, OnnxRuntime(side), horizon=False) for side in (got, reference)]
    shares = []
    for frame in frames:
        size = got.manifest.camera.size
        image = Frame(resized(frame, size) if frame.shape[:2] != size else frame)
        masks = [side.infer(image, frozenset({Output.OPEN_SET})).open_set for side in sides]
        shares.append(float(np.mean(masks[0] == masks[1])))
    for side in sides:
        side.close()
    return min(shares)


class _Section:
    """Nodes and constants that are put before or behind the network, under names of their own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: Any, dtype: Any) -> str:
        name = f"{self._name}.constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        name = f"{self._name}.{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output or name], name=name, **attributes))
        return output or name


def _letterbox(section: _Section, geometry: Geometry, input_size: tuple[int, int], is_bgr: bool) -> str:
    """The image as ``Letterbox.apply`` makes it, float32 [B, H, W, 3] in whole numbers; ``seen`` is it in bytes."""
    (height, width), (h, w) = geometry.original, geometry.valid
    average = h < height
    image = section.node("Cast", [INPUT.name], to=TensorProto.FLOAT)
    image = section.node("Reshape", [image, section.constant((-1, height, 3 * width), np.int64)])
    image = section.node("MatMul", [section.constant(resampling(height, h, average), np.float32), image])
    image = section.node("Reshape", [image, section.constant((-1, h, width, 3), np.int64)])
    image = section.node("MatMul", [section.constant(resampling(width, w, average), np.float32), image])
    image = section.node("Round", [image])
    if is_bgr:
        image = section.node("Gather", [image, section.constant((2, 1, 0), np.int64)], axis=3)
    padding = (0, 0, 0, 0, 0, input_size[0] - h, input_size[1] - w, 0)
    if any(padding):
        # A constant pad has one value for all channels.
        color = section.constant(PADDING_COLOR, np.float32)
        image = section.node("Sub", [image, color])
        image = section.node("Pad", [image, section.constant(padding, np.int64)])
        image = section.node("Add", [image, color])
    section.node("Cast", [image], _SEEN, to=TensorProto.UINT8)
    return image


def _feed(graph: onnx.GraphProto, image: str) -> None:
    """Let the network take its image in single precision: TensorRT has 8-bit tensors at its borders only."""
    carriers, seen = {INPUT.name}, 0
    for node in graph.node:
        if not carriers & set(node.input):
            continue
        # A graph for batches asks for the image's shape.
        if node.op_type not in ("Transpose", "Cast", "Shape"):
            raise ExportError(f"the graph's input '{INPUT.name}' goes into {node.op_type}; export it again")
        seen += 1
        if node.op_type == "Transpose":
            carriers.add(node.output[0])
        node.input[:] = [image if name == INPUT.name else name for name in node.input]
    if not seen:
        raise ExportError(f"the graph has no input '{INPUT.name}'; export it again with `m2a export`")
    kept = [info for info in graph.value_info if info.name not in carriers]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _open_set(section: _Section, geometry: Geometry, manifest: Manifest) -> None:
    """``open_set`` at the camera's size, as ``OpenSetHead.compute`` makes it."""
    (height, width), (h, w) = geometry.original, geometry.valid
    score = "anomaly"
    if manifest.decision is Decision.BACKGROUND:
        score = _background_score(section)
    ends = [section.constant(part, np.int64) for part in ((0, 0), (h, w), (1, 2))]
    score = section.node("Slice", [score, *ends])
    score = section.node("Unsqueeze", [score, section.constant((1,), np.int64)])
    batch = section.node("Shape", [score], start=0, end=2)
    size = section.node("Concat", [batch, section.constant((height, width), np.int64)], axis=0)
    score = section.node("Resize", [score, "", "", size], mode="linear", coordinate_transformation_mode="half_pixel")
    score = section.node("Squeeze", [score, section.constant((1,), np.int64)])
    ids = section.node("Cast", ["semantic"], to=TensorProto.INT32)
    for axis, (size_of, valid) in enumerate(((height, h), (width, w)), start=1):
        centres = (2 * np.arange(size_of) + 1) * valid // (2 * size_of)
        ids = section.node("Gather", [ids, section.constant(centres, np.int64)], axis=axis)
    threshold = section.constant(manifest.thresholds.anomaly, np.float32)
    unknown = section.node("GreaterOrEqual", [score, threshold])
    ids = section.node("Where", [unknown, section.constant(manifest.labels.unknown_id, np.int32), ids])
    section.node("Cast", [ids], _OPEN_SET, to=TensorProto.UINT8)


def _background_score(section: _Section) -> str:
    """D of ``m2a_core.openset.decision``."""
    refined = section.node("Abs", ["refined"])
    refined = section.node("Add", [refined, refined])
    removed = section.node("Less", [refined, section.node("Abs", ["anomaly"])])
    halves = [section.constant(value, np.float32) for value in (SUPPRESSED, 1)]
    return section.node("Mul", [section.node("Where", [removed, *halves]), "background"])


def resampling(source: int, target: int, average: bool) -> np.ndarray:
    """The matrix by which OpenCV resamples a line of pixels.

    Args:
        source: pixels that there are.
        target: pixels to make.
        average: by area (INTER_AREA); else by linear interpolation (INTER_LINEAR).

    Returns:
        float64 [target, source]; rows add up to 1.
    """
    scale = source / target
    pixels = np.arange(source)
    if average:
        starts = scale * np.arange(target)[:, None]
        covered = np.minimum(starts + scale, pixels + 1) - np.maximum(starts, pixels)
        weights: np.ndarray = np.maximum(covered, 0) / scale
    else:
        centres = np.clip((np.arange(target) + 0.5) * scale - 0.5, 0, source - 1)[:, None]
        weights = np.maximum(1 - np.abs(centres - pixels), 0)
    return weights
