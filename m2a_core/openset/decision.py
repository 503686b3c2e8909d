"""The score that decides what is unknown (``decision`` in the manifest), and the maps that the head works on.

``anomaly``, the paper's: the open-set mask thresholds f (Eq. 16), unknown instances f^r = R_M * f (Eq. 15).

``background``: both threshold D = (1 + R_M) / 2 * B, with B of Eq. 17 and R_M of Eq. 15. Two things differ:

* B takes the *strongest* claim of a known class on a pixel where f sums the claims of all queries. Many weak claims on
  a large unknown object add up to S >= 1, so f calls it known; no single one of them is strong, so B does not.
* What a confident mask of suppressed stuff claims is halved, not erased. Such masks reach over unknown objects too;
  with a score of zero, these pixels rank below all of the road.

docs/unknown_objects.md has the figures of both rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m2a_core.bundle.decision import Decision
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.openset.candidates import Layer
from m2a_core.openset.refinement import refined_away
from m2a_core.preprocess import Geometry

SUPPRESSED = np.float32(0.5)
"""Factor on B where R_M is 0."""


@dataclass(frozen=True)
class View:
    """What the network says of one image, with the scores that decide.

    Shape legend as ``NetworkOutput``; maps are about ``stride`` times the size of masks.

    Attributes:
        anomaly: float32 [H, W], f (Eq. 7).
        background: float32 [H, W], B (Eq. 17).
        score: float32 [H, W], from which the open-set mask is made.
        refined: float32 [H, W], in which unknown instances are looked for.
        semantic: uint8 [H, W], argmax_Z S (Eq. 5).
        winning_query: int32 [h, w], the query that gives the maximum of Eq. 17.
        query_masks: bool [Q, h, w], sigmoid(M) >= 0.5.
        class_probs: float32 [Q, K+1], softmax(C), last = no object.
        stride: pixels of the maps per entry of the masks and side.
        layers: of ``refined``, where several views of the scene were merged; else empty.
    """

    anomaly: np.ndarray
    background: np.ndarray
    score: np.ndarray
    refined: np.ndarray
    semantic: np.ndarray
    winning_query: np.ndarray
    query_masks: np.ndarray
    class_probs: np.ndarray
    stride: int
    layers: tuple[Layer, ...] = ()

    def valid_cells(self, maps: np.ndarray, geometry: Geometry) -> np.ndarray:
        """The part of maps [..., h, w] of the masks' size that the image covers, at least partly."""
        height, width = (-(-n // self.stride) for n in geometry.valid)
        return maps[..., :height, :width]


def decide(net: NetworkOutput, decision: Decision) -> View:
    """Give the network's tensors of one image the scores of a decision.

    Args:
        net: the graph's outputs.
        decision: which rule.
    """
    score, refined = decision_scores(net.anomaly, net.refined, net.background, decision)
    return View(
        anomaly=net.anomaly,
        background=net.background,
        score=score,
        refined=refined,
        semantic=net.semantic,
        winning_query=net.winning_query,
        query_masks=net.query_masks,
        class_probs=net.class_probs,
        stride=net.anomaly.shape[0] // net.query_masks.shape[1],
    )


def decision_scores(
    anomaly: np.ndarray, refined: np.ndarray, background: np.ndarray, decision: Decision
) -> tuple[np.ndarray, np.ndarray]:
    """The score of the open-set mask and that of unknown instances.

    Args:
        anomaly: float32 [H, W], f (Eq. 7).
        refined: float32 [H, W], R_M * f (Eq. 15).
        background: float32 [H, W], B (Eq. 17).
        decision: which rule.

    Returns:
        Two float32 [H, W]; the same array twice for ``background``, in [0, 1].
    """
    match Decision(decision):
        case Decision.ANOMALY:
            return anomaly, refined
        case Decision.BACKGROUND:
            kept = ~refined_away(anomaly, refined)
            # A tenth of the time of NumPy's masked product.
            score: np.ndarray = cv2.copyTo(background, kept.view(np.uint8), SUPPRESSED * background)
            return score, score
