"""Samples of own data as one picture: each frame, and its labels over it, with the classes' colours named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from m2a_core.data.own.checking import CheckReport
from m2a_core.data.own.frames import OwnFrame, Truth
from m2a_core.errors import DataError
from m2a_core.labels.label_map import VOID
from m2a_core.labels.label_set import LabelSet

SAMPLES = 8
_TILE = (240, 360)
"""H, W of a picture on the sheet."""
_LINE = 22


def choose_samples(report: CheckReport, count: int = SAMPLES) -> list[OwnFrame]:
    """Frames that together show as many classes as can be, those of train first."""
    pool = [item for split in report.splits.values() for item in split.shown]
    pool = pool[:: max(1, len(pool) // 2000)]
    chosen: list[OwnFrame] = []
    missing: set[int] = set().union(*(shown for _, shown in pool)) if pool else set()
    while pool and len(chosen) < count:
        best = max(range(len(pool)), key=lambda i: len(pool[i][1] & missing))
        if not pool[best][1] & missing:
            # All classes are there: the rest is spread over the frames.
            best = round(len(pool) * (len(chosen) + 0.5) / count) % len(pool)
        frame, shown = pool.pop(best)
        missing -= shown
        chosen.append(frame)
    return chosen


def write_samples(frames: Sequence[OwnFrame], labels: LabelSet, path: Path) -> None:
    """Draw frames, two a row, and a legend.

    Raises:
        DataError: a frame cannot be read, or the picture cannot be written.
    """
    suffix = path.suffix or ".jpg"
    if not cv2.haveImageWriter(f"samples{suffix}"):
        raise DataError(f"{path}: no picture ends in {suffix}; name one that ends in .jpg or .png")
    tiles = [_tile(frame, labels) for frame in frames]
    tiles += [np.zeros_like(tiles[0])] * (len(tiles) % 2)
    rows = [np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)]
    sheet = np.vstack([_legend(labels, rows[0].shape[1]), *rows])
    done, data = cv2.imencode(suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"{path}: OpenCV cannot write it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); name another with --picture") from error


def draw_labels(image: np.ndarray, truth: Truth, labels: LabelSet) -> np.ndarray:
    """Labels over an image uint8 [H, W, 3], things outlined, void left dark."""
    colors = np.zeros((256, 3), np.float32)
    colors[: labels.num_classes] = labels.colors
    drawn = np.where((truth.label == VOID)[..., None], 0.35 * image, 0.4 * image + 0.6 * colors[truth.label])
    parts = truth.label.astype(np.int32) if truth.instances is None else truth.label + 256 * truth.instances
    border = np.zeros(parts.shape, bool)
    border[:, 1:] |= parts[:, 1:] != parts[:, :-1]
    border[1:] |= parts[1:] != parts[:-1]
    drawn[border] = 255
    return drawn.astype(np.uint8)


def _tile(frame: OwnFrame, labels: LabelSet) -> np.ndarray:
    image, truth = frame.read()
    scale = min(_TILE[0] / image.shape[0], _TILE[1] / image.shape[1])
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    label = cv2.resize(truth.label, size, interpolation=cv2.INTER_NEAREST)
    numbers = truth.instances
    if numbers is not None:
        numbers = cv2.resize(numbers.astype(np.float64), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    drawn = draw_labels(small, Truth(label, numbers), labels)
    tile = np.zeros((_TILE[0] + _LINE, 2 * _TILE[1], 3), np.uint8)
    for x, picture in ((0, small), (_TILE[1], drawn)):
        tile[_LINE : _LINE + size[1], x : x + size[0]] = picture
    return _written(tile, [((4, 3), f"{frame.split}/{frame.name}"[-100:], None)])


def _legend(labels: LabelSet, width: int) -> np.ndarray:
    font = ImageFont.load_default(size=14)
    entries = []
    x, y = 4, 4
    for name, color in zip(labels.names, labels.colors, strict=True):
        shown = name if len(name) <= 40 else f"{name[:39]}..."
        needed = 30 + round(font.getlength(shown))
        if x + needed > width and x > 4:
            x, y = 4, y + _LINE
        entries.append(((x, y), shown, color))
        x += needed
    return _written(np.zeros((y + _LINE, width, 3), np.uint8), entries)


def _written(
    image: np.ndarray, entries: Sequence[tuple[tuple[int, int], str, tuple[int, int, int] | None]]
) -> np.ndarray:
    """Text, with a patch of colour before it where one is given."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=14)
    for (x, y), text, color in entries:
        left = x
        if color is not None:
            draw.rectangle((x, y + 2, x + 14, y + 15), fill=color, outline=(255, 255, 255))
            left = x + 19
        draw.text((left, y), text, fill=(255, 255, 255), font=font)
    return np.asarray(picture)
