"""Single-precision bundle -> the same network with explicit INT8 quantisation (Q/DQ nodes), calibrated on real frames.

What is quantised are layers with weights, convolutions and linear layers: those of the backbone and of the pixel
decoder or, where that is out of tolerance, of the pixel decoder alone (small backbones with ReLU6 and depthwise
convolutions lose more than can be accepted). Not quantised are the linear layers that place the deformable attention's
samples, the transformer decoder, whose masks gate its own attention, and the open-set maps. All of these stay in single
precision. The tool is ONNX Runtime's.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from m2a_core.bundle.loading import ModelBundle, sha256_of
from m2a_core.bundle.manifest import FILE_NAME, Manifest
from m2a_core.bundle.signing import remove_signature
from m2a_core.contract.io_spec import INPUT
from m2a_core.contract.plugin import OP_TYPE
from m2a_core.errors import ExportError
from m2a_core.export.place import require_place
from m2a_core.metrics.parity import TOLERANCES, Parity, compare
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.onnx_runtime import OnnxRuntime

BACKBONE, PIXEL_DECODER = "model.backbone", "model.pixel_decoder"
CHOICES = ((BACKBONE, PIXEL_DECODER), (PIXEL_DECODER,))
"""Parts of the network to quantise, in the order in which they are tried."""

_OPTIONS = {
    # TensorRT knows no zero points and adds biases itself, in single or half precision.
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
}


class _Frames(CalibrationDataReader):
    """Letterboxed frames, one at a time."""

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT.name: image[None]}


def quantise_bundle(bundle: ModelBundle, frames: Sequence[np.ndarray], out: Path, say: Callable[[str], None]) -> Parity:
    """Write a quantised bundle: the graph and its manifest.

    Args:
        bundle: a single-precision bundle.
        frames: uint8 [H, W, 3] each, real images of any size: all calibrate, every fourth is compared.
        out: the new bundle's directory; its last part is the bundle's name.
        say: takes lines for the user.

    Returns:
        The quantised graph against the original.

    Raises:
        ExportError: too few frames, ``out`` is the bundle itself, a graph that is not in single precision, or results
            out of tolerance.
    """
    if bundle.manifest.camera is not None:
        raise ExportError(
            f"{bundle.manifest.name}: its graph takes a camera's own image, and no letterbox works in 8 bits; quantise "
            "the bundle that it was made of"
        )
    if out.resolve() == bundle.directory.resolve():
        raise ExportError(
            f"{out}: is the single-precision bundle itself, which is needed to quantise again; name another"
        )
    if len(frames) < 8:
        raise ExportError(f"calibration: expected at least 8 real frames, got {len(frames)}; ranges would be guesses")
    require_place(out)
    model = onnx.load(bundle.onnx_path)
    stated = {entry.key: entry.value for entry in model.metadata_props}
    if stated.get("m2a.precision") != "fp32":
        raise ExportError(
            f"{bundle.onnx_path}: precision is {stated.get('m2a.precision', 'not stated')}, only a graph of "
            "`m2a export` in fp32 can be quantised"
        )
    images = [Letterbox(bundle.manifest.input_size).apply(frame)[0] for frame in frames]
    name = out.resolve().name
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}.") as temporary:
            graph = Path(temporary, f"{name}.onnx")
            for scopes in CHOICES:
                manifest, parity = _quantise(bundle, model, images, graph, scopes)
                violations = parity.violations(TOLERANCES["int8"])
                if not violations:
                    break
                say(f"quantised {' and '.join(scopes)}: out of tolerance ({'; '.join(violations)})")
            else:
                raise ExportError(
                    f"{name}: quantised results are out of tolerance ({'; '.join(violations)}); nothing was written: "
                    "calibrate on more and more varied frames"
                )
            say(f"quantised {' and '.join(scopes)}")
            manifest_file = Path(temporary, FILE_NAME)
            manifest_file.write_text(manifest.to_json(), encoding="utf-8")
            out.mkdir(exist_ok=True)
            remove_signature(out)
            for file in (graph, manifest_file):
                file.replace(out / file.name)
    except OSError as error:
        raise ExportError(f"{out}: cannot write the bundle ({error})") from error
    return parity


def _quantise(
    bundle: ModelBundle, model: onnx.ModelProto, images: Sequence[np.ndarray], graph: Path, scopes: tuple[str, ...]
) -> tuple[Manifest, Parity]:
    """Write the graph; its manifest, and every fourth image's results against the original's."""
    with _without_advice():
        quantize_static(
            str(bundle.onnx_path),
            str(graph),
            _Frames(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=nodes_to_quantise(model, scopes),
            extra_options=_OPTIONS,
        )
    _state_precision(graph)
    manifest = replace(bundle.manifest, name=graph.stem, onnx_file=graph.name, onnx_sha256=sha256_of(graph), metrics={})
    quantised = OnnxRuntime(ModelBundle(manifest, graph.parent, graph))
    original = OnnxRuntime(bundle)
    checked = images[::4]
    return manifest, compare([quantised.infer(i) for i in checked], [original.infer(i) for i in checked])


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep ONNX Runtime's advice to rewrite the graph first off the screen: an exported graph is folded already."""

    def is_none(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_none)
    try:
        yield
    finally:
        root.removeFilter(is_none)


def nodes_to_quantise(model: onnx.ModelProto, scopes: tuple[str, ...]) -> list[str]:
    """Names of the layers with weights of these scopes, but those that feed the deformable attention's samples."""
    weights = {tensor.name for tensor in model.graph.initializer}
    produced_by = {output: node for node in model.graph.node for output in node.output}
    placing = {
        name
        for node in model.graph.node
        if node.op_type == OP_TYPE
        for name in _linear_before(node.input[1], produced_by)
    }
    return [
        node.name
        for node in model.graph.node
        if node.name.startswith(scopes)
        and node.op_type in ("Conv", "MatMul", "Gemm")
        and node.input[1] in weights
        and node.name not in placing
    ]


def _linear_before(tensor: str, produced_by: dict[str, onnx.NodeProto]) -> list[str]:
    """The product that makes a tensor, behind its bias and reshapes."""
    node = produced_by.get(tensor)
    while node is not None and node.op_type in ("Add", "Reshape"):
        node = next((produced_by[name] for name in node.input if name in produced_by), None)
    return [] if node is None else [node.name]


def _state_precision(path: Path) -> None:
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == "m2a.precision":
            entry.value = "int8"
    onnx.save(model, path)
