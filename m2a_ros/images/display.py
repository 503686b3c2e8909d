"""Images of any encoding as something to look at, by the rules of cv_bridge's ``cvtColorForDisplay``.

Source of the rules: https://github.com/ros-perception/vision_opencv, cv_bridge/src/cv_bridge.cpp (rolling, 2024-02).
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import ImageColor

from m2a_ros.images.encodings import ImageError, convert, pixel_format

_SHOWN = ("bgr8", "rgb8", "bgra8", "rgba8", "mono8")


def _label_colors() -> np.ndarray:
    """BGR of the labels 0, 1, ...: the colours of CSS 3 in alphabetical order, from fractions of three digits."""
    names = {**ImageColor.colormap, "sandybrown": "#faa460"}  # as cv_bridge and scikit-image have it
    del names["rebeccapurple"], names["palevioletred"]  # CSS 4's, and one that cv_bridge leaves out
    colors = [ImageColor.getrgb(str(names[name]))[2::-1] for name in sorted(names)]
    return np.array([[int(float(f"{v / 255:.3g}") * 255) for v in bgr] for bgr in colors], np.uint8)


_LABEL_COLORS = _label_colors()


def cvt_color_for_display(
    source: np.ndarray,
    encoding_in: str,
    encoding_out: str,
    do_dynamic_scaling: bool = False,
    min_image_value: float = 0.0,
    max_image_value: float = 0.0,
    colormap: int = -1,
) -> np.ndarray:
    """Convert an image to 8 bits for display.

    Args:
        source: [H, W] or [H, W, C] in the dtype of ``encoding_in``.
        encoding_in: its encoding. 32SC1 are labels, which get colours where bgr8 is asked for (-1: black).
        encoding_out: bgr8, rgb8, bgra8, rgba8 or mono8; empty for bgr8.
        do_dynamic_scaling: scale from the smallest to the largest finite value, in place of the two that follow.
        min_image_value: what becomes 0, where it differs from ``max_image_value``.
        max_image_value: what becomes 255.
        colormap: one of OpenCV's, for a scaled image; NaN of 32FC1 is black. -1 for grey.

    Returns:
        uint8 in ``encoding_out``, the source itself where it has that encoding; [H, W, 3] of 128, whatever is asked
        for, where dynamic scaling finds one value only, as cv_bridge gives it.

    Raises:
        ImageError: an encoding is unknown, cannot be shown or converted, or scaling is asked for several channels.
    """
    layout = pixel_format(encoding_in)
    if encoding_out not in _SHOWN and not (encoding_out == "" and layout.dtype.itemsize <= 4):
        wanted = f"one of {', '.join(_SHOWN)}" if encoding_out else "an encoding of at most 32 bits without one to give"
        raise ImageError("unconvertible", f"'{encoding_in}' to '{encoding_out}' for display: expected {wanted}")
    encoding_out = encoding_out or "bgr8"
    if encoding_in == "32SC1" and encoding_out == "bgr8":
        known = source >= 0  # Negative labels have no colour, not only the background's.
        return np.where(known[..., None], _LABEL_COLORS[source % len(_LABEL_COLORS)], np.uint8(0))
    if (do_dynamic_scaling or min_image_value != max_image_value) and layout.channels != 1:
        raise ImageError("unconvertible", f"'{encoding_in}' for display: only one channel can be scaled")
    if do_dynamic_scaling:
        mask = (~np.isinf(source)).astype(np.uint8)
        min_image_value, max_image_value, _, _ = cv2.minMaxLoc(source, mask)
        if min_image_value == max_image_value:
            return np.full((*source.shape, 3), 128, np.uint8)
    if min_image_value != max_image_value:
        grey = _scaled(source, min_image_value, 255.0 / (max_image_value - min_image_value))
        if colormap == -1:
            return convert(grey, "mono8", encoding_out)
        colored = cv2.applyColorMap(grey, colormap)
        if encoding_in == "32FC1":
            colored[np.isnan(source)] = 0
        return convert(colored, "bgr8", encoding_out)
    return convert(source, "mono16" if encoding_in == "16UC1" else encoding_in, encoding_out)


def _scaled(source: np.ndarray, low: float, factor: float) -> np.ndarray:
    """``(source - low) * factor`` as OpenCV computes it: the difference in the source's type; no number becomes 0."""
    shifted = cv2.add(source, -low)
    # convertTo is not in OpenCV's Python interface; this differs for negative products only, which become 0 there.
    kept = np.isfinite(shifted) & (shifted * np.sign(factor) > 0)
    return np.asarray(cv2.convertScaleAbs(np.where(kept, shifted, shifted.dtype.type(0)), alpha=factor))
