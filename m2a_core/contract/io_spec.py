"""Names, dtypes and shapes of the exported graph, said once.

Input ``image`` is uint8 RGB; normalisation, the network and the per-pixel part of the open-set heads are inside.
Shape legend: B batch, Q queries, K known classes, H W network input, h w = H/4, W/4.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the graph: name, NumPy dtype name, symbolic shape, meaning."""

    name: str
    dtype: str
    shape: tuple[str, ...]
    meaning: str


MASK_STRIDE = 4
"""Pixels of the input beside one of the masks: H / h."""

INPUT = TensorSpec("image", "uint8", ("B", "H", "W", "3"), "RGB, letterboxed to H x W")

CAMERA_INPUT = TensorSpec(INPUT.name, "uint8", ("B", "H0", "W0", "3"), "a camera's own image, H0 x W0")
"""Instead of ``INPUT``, where letterbox and colours are in the graph too (``m2a export --camera``)."""

CAMERA_OUTPUTS = (
    TensorSpec("seen", "uint8", ("B", "H", "W", "3"), "the image as the network sees it: RGB, letterboxed"),
    TensorSpec("open_set", "uint8", ("B", "H0", "W0"), "class id or unknown (Eq. 16), at the camera's size"),
)
"""What such a graph gives beside ``OUTPUTS``."""

OUTPUTS = (
    TensorSpec("anomaly", "float32", ("B", "H", "W"), "f = 1 - max_Z S (Eq. 7)"),
    TensorSpec("refined", "float32", ("B", "H", "W"), "f^r = R_M * f (Eq. 15)"),
    TensorSpec("semantic", "uint8", ("B", "H", "W"), "argmax_Z S (Eq. 5)"),
    TensorSpec("background", "float32", ("B", "H", "W"), "1 - max_q (max_Z softmax(C_q) * sigmoid(M_q)) (Eq. 17)"),
    TensorSpec("winning_query", "int32", ("B", "h", "w"), "argmax_q (max_Z softmax(C_q) * sigmoid(M_q))"),
    TensorSpec("query_masks", "bool", ("B", "Q", "h", "w"), "sigmoid(M) >= 0.5"),
    TensorSpec("class_probs", "float32", ("B", "Q", "K+1"), "softmax(C), last = no object"),
)

RAW_OUTPUTS = (
    TensorSpec("class_logits", "float32", ("B", "Q", "K+1"), "C"),
    TensorSpec("mask_logits", "float32", ("B", "Q", "h", "w"), "M"),
)
"""Opt-in outputs for evaluation."""

FULL_MASKS = TensorSpec("full_masks", "bool", ("B", "Q", "H", "W"), "sigmoid(upsampled M) >= 0.5")
"""Opt-in output for users that want every query's mask at the input's size."""
