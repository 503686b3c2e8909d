"""A model bundle whose answers can be read off the picture: for tests of everything around the network.

Its graph keeps the contract of ``m2a_core.contract.io_spec`` but "recognises" plain colours. Query q < K stands for
class q and covers the pixels whose every channel is within 60 of ``tiny_colors(labels)[class]``; query K covers red.
Then:

- a class colour gives that class with probability > 0.999 and anomaly < 0.01;
- red (255, 0, 0) is an unknown object: anomaly and background > 0.98; its query says "no object" (0.92) and, of the
  rest, any stuff but only the first thing class, which is what Sec. 6.3 takes for an unknown *thing*;
- any other colour belongs to no query: anomaly and background > 0.99, no query's mask overlaps it.

Masks are at stride 4 and upsampled bilinearly before the sigmoid, so answers blur within 4 pixels of a colour edge. An
edge between two class colours is no anomaly where it lies on a multiple of 4 input pixels; a cell of mixed colours is.
"""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from m2a_core.bundle.manifest import FILE_NAME, Manifest, Thresholds
from m2a_core.labels.builtin import CAMVID11
from m2a_core.labels.label_set import LabelSet
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD

RED = (255, 0, 0)
TOLERANCE = 60
_FIXED = {"road": (0, 255, 0), "sky": (0, 0, 255)}
_TYPES = {
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}


def tiny_colors(labels: LabelSet = CAMVID11) -> dict[str, tuple[int, int, int]]:
    """RGB that the graph takes for each class: road green, sky blue, the others from the corners 0, 128, 255."""
    free = [c for c in product((0, 128, 255), repeat=3) if c != RED and c not in _FIXED.values()]
    return {name: _FIXED.get(name) or free.pop() for name in labels.names}


def class_logits(labels: LabelSet = CAMVID11) -> np.ndarray:
    """float32 [K+1, K+1]: what the graph's queries say of their class, whatever the image."""
    k = labels.num_classes
    logits = np.zeros((k + 1, k + 1), np.float32)
    logits[:k, :k] = 12 * np.eye(k)
    logits[k, list(labels.things)[1:]] = -12
    rest = np.exp(logits[k, :k]).sum()
    logits[k, k] = np.log(rest * 0.92 / 0.08)
    return logits


def write_tiny_bundle(
    directory: Path,
    input_size: tuple[int, int] = (96, 128),
    labels: LabelSet = CAMVID11,
    name: str = "tiny",
    thresholds: Thresholds | None = None,
) -> Path:
    """Write the bundle (graph and manifest) into ``directory`` and return it; sizes are multiples of 4."""
    directory.mkdir(parents=True, exist_ok=True)
    graph = _model(input_size, labels).SerializeToString(deterministic=True)
    (directory / f"{name}.onnx").write_bytes(graph)
    manifest = Manifest(
        name=name,
        onnx_file=f"{name}.onnx",
        onnx_sha256=hashlib.sha256(graph).hexdigest(),
        input_size=input_size,
        num_queries=labels.num_classes + 1,
        labels=labels,
        thresholds=thresholds or Thresholds(anomaly=0.5, refined=0.5),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        license="made for tests",
        created_with={"onnx": onnx.__version__},
    )
    (directory / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return directory


def _model(size: tuple[int, int], labels: LabelSet) -> onnx.ModelProto:
    height, width = size
    k, q = labels.num_classes, labels.num_classes + 1
    logits = class_logits(labels)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    colors = np.array([*tiny_colors(labels).values(), RED], np.float32)
    drops = np.array([i < k and i in labels.stuff and i != labels.road for i in range(q)], np.float32)
    constants = {
        "C": logits[None],
        "P": probs[None].astype(np.float32),
        "PK_T": np.ascontiguousarray(probs[:, :k].T)[None].astype(np.float32),
        "pmax": probs[:, :k].max(1).reshape(1, q, 1, 1).astype(np.float32),
        "colors": colors.reshape(1, q, 3, 1, 1),
        "drops": drops.reshape(1, q, 1, 1),
        "tolerance": np.float32(TOLERANCE),
        "sharpness": np.float32(0.2),
        "low": np.float32(-12),
        "high": np.float32(12),
        "half": np.float32(0.5),
        "one": np.float32(1),
        "axis1": np.array([1], np.int64),
        "scales": np.array([1, 1, 4, 4], np.float32),
        "flat": np.array([1, q, height * width], np.int64),
        "unflat": np.array([1, k, height, width], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["x_hwc"], to=TensorProto.FLOAT),
        node("Transpose", ["x_hwc"], ["x"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["x"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        node("Unsqueeze", ["small", "axis1"], ["small5"]),
        node("Sub", ["small5", "colors"], ["difference"]),
        node("Abs", ["difference"], ["absolute"]),
        node("ReduceMax", ["absolute"], ["distance"], axes=[2], keepdims=0),
        node("Sub", ["tolerance", "distance"], ["margin"]),
        node("Mul", ["margin", "sharpness"], ["steep"]),
        node("Clip", ["steep", "low", "high"], ["mask_logits"]),
        node("Sigmoid", ["mask_logits"], ["small_masks"]),
        node("GreaterOrEqual", ["small_masks", "half"], ["query_masks"]),
        node("Mul", ["small_masks", "pmax"], ["small_weighted"]),
        node("ArgMax", ["small_weighted"], ["winner64"], axis=1, keepdims=0),
        node("Cast", ["winner64"], ["winning_query"], to=TensorProto.INT32),
        node("Resize", ["mask_logits", "", "scales"], ["full"], mode="linear"),
        node("Sigmoid", ["full"], ["masks"]),
        node("Mul", ["masks", "pmax"], ["weighted"]),
        node("ReduceMax", ["weighted"], ["known"], axes=[1], keepdims=0),
        node("Sub", ["one", "known"], ["background"]),
        node("Reshape", ["masks", "flat"], ["masks_flat"]),
        node("MatMul", ["PK_T", "masks_flat"], ["S_flat"]),
        node("Reshape", ["S_flat", "unflat"], ["S"]),
        node("ArgMax", ["S"], ["semantic64"], axis=1, keepdims=0),
        node("Cast", ["semantic64"], ["semantic"], to=TensorProto.UINT8),
        node("ReduceMax", ["S"], ["best"], axes=[1], keepdims=0),
        node("Sub", ["one", "best"], ["anomaly"]),
        node("GreaterOrEqual", ["masks", "half"], ["masks_on"]),
        node("Cast", ["masks_on"], ["masks_01"], to=TensorProto.FLOAT),
        node("Mul", ["masks_01", "drops"], ["dropped"]),
        node("ReduceMax", ["dropped"], ["dropped_any"], axes=[1], keepdims=0),
        node("Sub", ["one", "dropped_any"], ["R_M"]),
        node("Mul", ["anomaly", "R_M"], ["refined"]),
        node("Identity", ["P"], ["class_probs"]),
        node("Identity", ["C"], ["class_logits"]),
    ]
    full, small = [1, height, width], [height // 4, width // 4]
    outputs = {
        "anomaly": ("float32", full),
        "refined": ("float32", full),
        "semantic": ("uint8", full),
        "background": ("float32", full),
        "winning_query": ("int32", [1, *small]),
        "query_masks": ("bool", [1, q, *small]),
        "class_probs": ("float32", [1, q, k + 1]),
        "class_logits": ("float32", [1, q, k + 1]),
        "mask_logits": ("float32", [1, q, *small]),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info(n, _TYPES[dtype], shape) for n, (dtype, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), n) for n, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
