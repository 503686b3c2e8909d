"""Drawing a result over its image: class colours, unknown pixels, outlines and scores of unknown instances."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.labels.label_set import UNKNOWN_COLOR, LabelSet
from m2a_core.resize import resized
from m2a_core.types import UNLABELLED, OpenSetResult, UnknownInstance, check_array

OVERLAY_WIDTH = 960
"""Pixels that an overlay is wide at most by default: drawn smaller it costs a fraction, and it is for people."""

WINDOW_COLOR = (255, 255, 255)
"""RGB of the corners of the window that was looked at more closely."""

_KNOWN_OPACITY = 0.4
_UNKNOWN_OPACITY = 0.75
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_overlay(image: np.ndarray, result: OpenSetResult, labels: LabelSet) -> np.ndarray:
    """Draw what is in the result: classes (open-set, else closed-set), else the anomaly map; then the instances.

    Args:
        image: uint8 [H, W, 3], RGB.
        result: of this image.
        labels: the classes the result speaks of.

    Returns:
        uint8 [H, W, 3], RGB, a new array.

    Raises:
        DataError: the image is not uint8 [H, W, 3] or the result has another size.
    """
    check_array("image", image, np.uint8, (None, None, 3))
    ids = result.open_set if result.open_set is not None else result.semantic
    for name, values in (("class ids", ids), ("anomaly", result.anomaly)):
        if values is not None and values.shape != image.shape[:2]:
            raise DataError(f"overlay: the image is {list(image.shape[:2])} but {name} are {list(values.shape)}")
    if ids is not None:
        canvas = _blend_classes(image, ids, labels)
    elif result.anomaly is not None:
        canvas = _blend_heat(image, result.anomaly)
    else:
        canvas = image.copy()
    if result.horizon is not None:
        _draw_window(canvas, result.horizon.box)
    _draw_instances(canvas, result)
    return canvas


def _blend_classes(image: np.ndarray, ids: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Every pixel in its class colour; unlabelled pixels stay as they are."""
    paint, keep = _tables(labels)
    # OpenCV's table look-up takes a small part of the time of NumPy's indexing.
    kept = cv2.cvtColor(cv2.LUT(ids, keep), cv2.COLOR_GRAY2RGB)
    blended: np.ndarray = cv2.add(cv2.multiply(image, kept, scale=1 / 255), cv2.applyColorMap(ids, paint))
    return blended


@lru_cache(maxsize=8)
def _tables(labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """What out = a * color + (1 - a) * image adds, uint8 [256, 1, 3], and keeps of 255, uint8 [256], by class id."""
    colors = np.zeros((256, 3), np.float32)
    opacity = np.zeros((256, 1), np.float32)
    k = labels.num_classes
    colors[:k], opacity[:k] = labels.drawn_colors, _KNOWN_OPACITY
    colors[labels.unknown_id], opacity[labels.unknown_id] = UNKNOWN_COLOR, _UNKNOWN_OPACITY
    opacity[UNLABELLED] = 0
    return np.rint(colors * opacity).astype(np.uint8)[:, None], np.rint(255 * (1 - opacity[:, 0])).astype(np.uint8)


def draw_scores(scores: np.ndarray) -> np.ndarray:
    """A score map in colours, dark for 0 and bright for 1.

    Args:
        scores: float32 [H, W]; below 0 and above 1 count as these.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    levels = np.rint(255 * np.clip(scores, 0, 1)).astype(np.uint8)
    heat: np.ndarray = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return heat


def _blend_heat(image: np.ndarray, anomaly: np.ndarray) -> np.ndarray:
    blended: np.ndarray = cv2.addWeighted(image, 0.4, draw_scores(anomaly), 0.6, 0)
    return blended


def _draw_window(canvas: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """The corners of the window that was looked at more closely, in place."""
    x0, y0, x1, y1 = box
    thick = _line_width(canvas)
    arm = max(1, (x1 - x0) // 12)
    for x, y, dx, dy in ((x0, y0, 1, 1), (x1 - 1, y0, -1, 1), (x0, y1 - 1, 1, -1), (x1 - 1, y1 - 1, -1, -1)):
        corner = np.array([(x + dx * arm, y), (x, y), (x, y + dy * arm)], np.int32)
        cv2.polylines(canvas, [corner], isClosed=False, color=WINDOW_COLOR, thickness=thick)


def _line_width(canvas: np.ndarray) -> int:
    width: int = max(1, round(min(canvas.shape[:2]) / 300))
    return width


def _draw_instances(canvas: np.ndarray, result: OpenSetResult) -> None:
    """Outline, box and score of every unknown instance, in place."""
    height, width = canvas.shape[:2]
    thick = _line_width(canvas)
    scale = max(0.35, min(height, width) / 900)
    for instance in result.instances:
        x0, y0, x1, y1 = instance.bbox
        cv2.drawContours(canvas, [instance.contour.reshape(-1, 1, 2)], -1, (255, 255, 255), thick)
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), UNKNOWN_COLOR, thick)
        text = f"unknown {instance.id}: {instance.score:.2f}"
        (text_w, text_h), descent = cv2.getTextSize(text, _FONT, scale, thick)
        x = int(np.clip(x0, 0, max(0, width - text_w)))
        y = y0 - descent if y0 >= text_h + 2 * descent else min(y1 + text_h + descent, height - descent)
        cv2.rectangle(canvas, (x, y - text_h - descent), (x + text_w, y + descent), UNKNOWN_COLOR, cv2.FILLED)
        cv2.putText(canvas, text, (x, y), _FONT, scale, (255, 255, 255), thick, cv2.LINE_AA)


def shrink(
    image: np.ndarray, result: OpenSetResult, max_width: int, small: np.ndarray | None = None
) -> tuple[np.ndarray, OpenSetResult]:
    """Bring an image and what an overlay shows of its result to at most ``max_width`` columns, and those of its maps.

    Args:
        image: uint8 [H, W, 3].
        result: of this image; its ``open_set``, instances and window are shown.
        max_width: pixels; 0 for the image's own size, whatever the maps'.
        small: the image as it was made smaller already; taken where it has the size that is wanted.

    Returns:
        Both, untouched where the image is no wider and the maps have its size; else the image averaged, class ids by
        the nearest pixel, and no other maps.
    """
    height, width = image.shape[:2]
    ids, window = result.open_set, result.horizon
    if ids is not None and ids.shape[1] < width and max_width > 0:
        max_width = min(max_width, ids.shape[1])
    size = overlay_size(height, width, max_width)[::-1]
    if size == (width, height) and result.image_size is None:
        return image, result
    if small is None or small.shape[:2] != size[::-1]:
        small = resized(image, size[::-1])
    return small, OpenSetResult(
        open_set=_nearest(ids, size),
        instances=tuple(_scaled(instance, size[0] / width, size[1] / height) for instance in result.instances),
        horizon=None
        if window is None
        else replace(window, box=_scaled_box(window.box, size[0] / width, size[1] / height)),
    )


def _nearest(ids: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    if ids is None or ids.shape == size[::-1]:
        return ids
    found: np.ndarray = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
    return found


def shrink_scores(scores: np.ndarray, max_width: int) -> np.ndarray:
    """A score map, float32 [H, W], averaged to the size that `shrink` gives its image."""
    height, width = scores.shape
    size = overlay_size(height, width, max_width)[::-1]
    return scores if size == (width, height) else cv2.resize(scores, size, interpolation=cv2.INTER_AREA)


def overlay_size(height: int, width: int, max_width: int) -> tuple[int, int]:
    """Height and width of an image brought to at most ``max_width`` columns; 0 for its own size."""
    if max_width <= 0 or width <= max_width:
        return height, width
    return max(1, round(height * max_width / width)), max_width


def _scaled(instance: UnknownInstance, x: float, y: float) -> UnknownInstance:
    bbox = _scaled_box(instance.bbox, x, y)
    contour = (instance.contour * (x, y)).astype(instance.contour.dtype)
    return replace(instance, bbox=bbox, contour=contour, contact=(instance.contact[0] * x, instance.contact[1] * y))


def _scaled_box(box: tuple[int, int, int, int], x: float, y: float) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return int(x0 * x), int(y0 * y), max(int(x0 * x) + 1, round(x1 * x)), max(int(y0 * y) + 1, round(y1 * y))
