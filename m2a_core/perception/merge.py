"""One view of an image out of two: of the whole, and of a window seen at a finer scale."""

from __future__ import annotations

import cv2
import numpy as np

from m2a_core.openset.candidates import Layer
from m2a_core.openset.decision import View
from m2a_core.perception.horizon import ZOOM, Placement


def merge_views(whole: View, window: View, placement: Placement, valid: tuple[int, int]) -> View:
    """Join two views on the canvas of ``horizon.Placement``.

    A score is the larger of the two: what either view finds unknown is unknown. Large objects, of which the window
    sees a part, are judged by the whole; small ones, of which the whole sees a cell or two, by the window. (Mean,
    product and the window's score alone were measured; each loses one or the other.) Classes are the window's where it
    is. Unknown instances are looked for in each view at its own scale. Segments of known classes are the whole's, so
    that no car is cut in two where the window ends.

    Args:
        whole: of the image.
        window: of the window.
        placement: where the window lies.
        valid: height and width of the image in the whole view's maps.

    Returns:
        Maps at ``ZOOM`` times the whole's valid size; masks are the whole's.
    """
    height, width = valid
    size = (ZOOM * width, ZOOM * height)
    rows, cols = slice(placement.y, placement.y + placement.height), slice(placement.x, placement.x + placement.width)

    def larger(of_whole: np.ndarray, of_window: np.ndarray) -> np.ndarray:
        canvas: np.ndarray = cv2.resize(of_whole[:height, :width], size, interpolation=cv2.INTER_LINEAR)
        area = canvas[rows, cols]
        np.maximum(area, of_window[: placement.height, : placement.width], out=area)
        return canvas

    semantic = cv2.resize(whole.semantic[:height, :width], size, interpolation=cv2.INTER_NEAREST_EXACT)
    semantic[rows, cols] = window.semantic[: placement.height, : placement.width]
    score = larger(whole.score, window.score)
    return View(
        anomaly=larger(whole.anomaly, window.anomaly),
        background=larger(whole.background, window.background),
        score=score,
        refined=score if whole.refined is whole.score else larger(whole.refined, window.refined),
        semantic=semantic,
        winning_query=whole.winning_query,
        query_masks=whole.query_masks,
        class_probs=whole.class_probs,
        stride=ZOOM * whole.stride,
        layers=(
            Layer(whole.refined[:height, :width], ZOOM),
            Layer(window.refined[: placement.height, : placement.width], 1, placement.x, placement.y),
        ),
    )
