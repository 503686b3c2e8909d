"""Drawn data of one's own in the layout of the contract: any classes, ids, sizes and kinds of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from m2a_core.labels.palette import voc_color

SIZES = ((96, 128), (150, 70), (61, 203))
SUFFIXES = (".jpg", ".png", ".webp")


def classes(count: int, first: int = 0, step: int = 1, things: Sequence[int] = (1,)) -> list[dict[str, Any]]:
    """So many classes with the ids first, first + step, ..."""
    return [
        {"name": f"class {i}", "id": first + i * step, "color": list(voc_color(i + 1)), "thing": i in things}
        for i in range(count)
    ]


def mask_of(entries: Sequence[dict[str, Any]], size: tuple[int, int], index: int) -> np.ndarray:
    """Patches of all classes in a grid that the index shifts, void in the last row: uint16 [H, W]."""
    side = int(np.ceil(np.sqrt(len(entries))))
    rows, cols = (np.minimum(np.arange(n) * side // n, side - 1) for n in size)
    which = (rows[:, None] * side + cols[None] + index) % len(entries)
    mask = np.array([entry["id"] for entry in entries])[which].astype(np.uint16)
    mask[-1] = 255
    return mask


def picture_of(mask: np.ndarray, entries: Sequence[dict[str, Any]], index: int) -> np.ndarray:
    """The classes' colours with noise: uint8 [H, W, 3], RGB."""
    image = np.zeros((*mask.shape, 3))
    for entry in entries:
        image[mask == entry["id"]] = entry["color"]
    return np.clip(image + np.random.default_rng(index).normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def write_own(
    root: Path,
    entries: Sequence[dict[str, Any]],
    splits: dict[str, int] | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
    suffixes: Sequence[str] = SUFFIXES,
    **more: Any,
) -> Path:
    """Write ``classes.yaml``, ``images`` and ``masks``; ``more`` are further keys of the classes' file."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text(
        yaml.safe_dump({"classes": list(entries), "void": 255, **more}), encoding="utf-8"
    )
    index = 0
    for split, count in (splits or {"train": 6, "val": 3}).items():
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            mask = mask_of(entries, sizes[index % len(sizes)], index)
            name = f"{split}.drive_{number:04d}"
            image = cv2.cvtColor(picture_of(mask, entries, index), cv2.COLOR_RGB2BGR)
            assert cv2.imwrite(str(root / "images" / split / f"{name}{suffixes[index % len(suffixes)]}"), image)
            assert cv2.imwrite(str(root / "masks" / split / f"{name}.png"), mask)
            index += 1
    return root
