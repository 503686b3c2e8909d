"""Maps of a result as PNG files that any tool opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from m2a_core.files import replaced
from m2a_core.labels.label_set import UNKNOWN_COLOR, LabelSet

_SCORE_STEPS = 65535


def write_map_png(path: Path, values: np.ndarray, labels: LabelSet | None = None) -> None:
    """Write one map.

    Args:
        path: the file.
        values: float32 [H, W], a score: 16 bits grey, 0 .. 65535 for 0 .. 1, clipped; or int32 or uint16 [H, W]: 16
            bits grey; or uint8 [H, W] of class ids: 8 bits.
        labels: colours of class ids: the file gets them as a palette, whose indices are the ids.

    Raises:
        OSError: the file cannot be written.
    """
    if values.dtype.kind == "f":
        values = np.rint(np.clip(values, 0, 1) * _SCORE_STEPS)
    image = Image.fromarray(values if values.dtype == np.uint8 else values.astype(np.uint16))
    if labels is not None:
        # From grey "L": the indices stay the values.
        image.putpalette([c for color in _palette(labels) for c in color])
    with replaced(path) as temporary:
        image.save(temporary)


def _palette(labels: LabelSet) -> list[tuple[int, int, int]]:
    colors = [(0, 0, 0)] * 256
    colors[: labels.num_classes + 1] = [*labels.colors, UNKNOWN_COLOR]
    return colors
