"""What the graph says of one image, and the check that its scores are numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2a_core.errors import InferenceError


@dataclass(frozen=True)
class NetworkOutput:
    """What the graph says of one image: ``io_spec.OUTPUTS`` without the batch axis.

    Shape legend: H W network input, h w = H/4, W/4, Q queries, K known classes, H0 W0 camera image.

    Attributes:
        anomaly: float32 [H, W], f = 1 - max_Z S (Eq. 7).
        refined: float32 [H, W], f^r (Eq. 15).
        semantic: uint8 [H, W], argmax_Z S (Eq. 5).
        background: float32 [H, W], B (Eq. 17), in [0, 1].
        winning_query: int32 [h, w], the query that gives the maximum of Eq. 17.
        query_masks: bool [Q, h, w], sigmoid(M) >= 0.5.
        class_probs: float32 [Q, K+1], softmax(C), last = no object.
        class_logits: float32 [Q, K+1], C; None unless asked for.
        mask_logits: float32 [Q, h, w], M; None unless asked for.
        full_masks: bool [Q, H, W], every query's mask at the input's size; None unless asked for and in the graph.
        seen: uint8 [H, W, 3], RGB, the image as the network sees it; None unless the graph takes a camera's own image.
        open_set: uint8 [H0, W0], the open-set mask; None as ``seen``.
    """

    anomaly: np.ndarray
    refined: np.ndarray
    semantic: np.ndarray
    background: np.ndarray
    winning_query: np.ndarray
    query_masks: np.ndarray
    class_probs: np.ndarray
    class_logits: np.ndarray | None = None
    mask_logits: np.ndarray | None = None
    full_masks: np.ndarray | None = None
    seen: np.ndarray | None = None
    open_set: np.ndarray | None = None


def require_finite(output: NetworkOutput, source: object) -> NetworkOutput:
    """Give the output back if its scores are numbers.

    A comparison with NaN is false: such pixels would be published as known ground.

    Args:
        output: of one image.
        source: what gave it, for the message.

    Raises:
        InferenceError: f, f^r, B or a class probability is NaN or infinite.
    """
    for name in ("anomaly", "refined", "background", "class_probs"):
        if not np.isfinite(getattr(output, name)).all():
            raise InferenceError(
                f"{source}: output '{name}' holds NaN or infinite values on a frame: the weights are damaged, or half "
                "precision overflows; export with --precision mixed or fp32"
            )
    return output
