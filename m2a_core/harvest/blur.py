"""People and vehicles made unrecognisable in pictures that are shown or handed on, by the model's own classes.

There is no detector of number plates in m2a: ``plates`` stands for whole vehicles. What the model does not see as a
person or a vehicle is not masked; do not rely on it where the law requires more.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from m2a_core.errors import ConfigError

GROUPS = {
    "people": ("person", "pedestrian", "rider", "bicyclist", "people", "human", "cyclist", "motorcyclist"),
    "plates": (
        "car",
        "truck",
        "bus",
        "van",
        "vehicle",
        "motorcycle",
        "motorbike",
        "caravan",
        "trailer",
        "autorickshaw",
        "vehicle fallback",
        "train",
        "on rails",
    ),
}
"""What the words on the command line stand for, of the classes that a model has."""

_MARGIN = 0.02
_CELLS = 6


def blurred_classes(words: Sequence[str], known: Sequence[str]) -> frozenset[int]:
    """Ids of the classes that words name.

    Args:
        words: of ``GROUPS``, or names of classes, in any case.
        known: names of the model's classes, by id.

    Raises:
        ConfigError: a word is neither, or a group of which the model knows no class.
    """
    found: set[int] = set()
    for word in words:
        meant = GROUPS.get(word.casefold(), (word.casefold(),))
        # Classes of own data may be called Car or PERSON.
        numbers = {number for number, name in enumerate(known) if name.strip().casefold() in meant}
        if not numbers:
            raise ConfigError(
                f"--blur {word}: the model has no such class; expected {' or '.join(GROUPS)}, or of its classes "
                f"{', '.join(known)}"
            )
        found |= numbers
    return frozenset(found)


def blur(image: np.ndarray, classes: np.ndarray, hidden: frozenset[int]) -> np.ndarray:
    """Coarse mosaic over pixels of some classes, and a little around them.

    Args:
        image: uint8 [h, w, 3], RGB.
        classes: uint8 [h, w], class ids of its pixels.
        hidden: ids to mask.

    Returns:
        uint8 [h, w, 3]; the image itself where nothing is masked.
    """
    mask = np.isin(classes, list(hidden)).astype(np.uint8)
    if not mask.any():
        return image
    height, width = mask.shape
    margin = 2 * max(1, round(_MARGIN * max(height, width))) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin)))
    masked = image.copy()
    count, components, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for number in range(1, count):
        # Cells by the object's size, not the picture's: what is far away has few pixels and is known by them.
        x, y, w, h = boxes[number, :4]
        part = (slice(y, y + h), slice(x, x + w))
        cells = (min(w, _CELLS), min(h, _CELLS))
        coarse = cv2.resize(
            cv2.resize(image[part], cells, interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_NEAREST
        )
        inside = components[part] == number
        masked[part][inside] = coarse[inside]
    return masked
