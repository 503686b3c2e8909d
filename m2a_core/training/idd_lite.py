"""IDD-lite as more road: Indian streets of which road and sky have CamVid's classes.

Its vehicles are cars or cycles, its far objects buildings or trees: labels that leave a choice. Living things and
roadside objects hold animals and rubbish, which must not be learnt as known, and stay void with the rest.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.labels.label_map import LabelValues, read_label_map
from m2a_core.training.datasets import CAMVID_VALUES, FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

CHOICE_OF = {3: 200, 5: 201}
"""IDD-lite's vehicles and far objects as keys of `CHOICES`."""
COARSE_VALUES = LabelValues({i: i for i in range(7)})
OBJECT_VALUES = LabelValues({i: i for i in range(4)}, frozenset())
SIZE = (480, 300)
"""Width, height the frames are brought to: the 320x227 files look squeezed from a wider camera image."""


def drive_of(path: Path) -> str:
    """The drive a frame is from."""
    return path.stem.split("_")[0]


def idd_lite_sources(root: Path, stride: int, obstacles: int = 0) -> list[FrameSource]:
    """List every ``stride``-th training frame, then those with real obstacles ``obstacles`` times.

    Real obstacles that the data set's ``objects`` mark are outliers.

    Args:
        root: folder with ``images/train``, ``labels/train``, ``labels_camvid11/train`` and ``objects/train``.
        stride: 1 = all frames.
        obstacles: how often the frames with marked obstacles come, of drives that have a frame in every ``stride``-th.

    Returns:
        Frames with partial labels.

    Raises:
        DataError: there are none.
    """
    paths = sorted((root / "images" / "train").glob("*.jpg"))[::stride]
    if not paths:
        raise DataError(f"{root / 'images' / 'train'}: no frames; give the folder that holds 'idd_lite'")
    drives = {drive_of(path) for path in paths}
    marked = [root / "images" / "train" / f"{p.stem}.jpg" for p in sorted((root / "objects" / "train").glob("*.png"))]
    paths += [path for path in marked if drive_of(path) in drives] * obstacles
    return [FrameSource(path.stem, functools.partial(_read, root, path)) for path in paths]


def load_idd_lite(root: Path, stride: int) -> list[LabelledImage]:
    """Read the frames of `idd_lite_sources` into memory; arguments and errors as there, and of malformed files."""
    return [source.read() for source in idd_lite_sources(root, stride)]


def _read(root: Path, path: Path) -> LabelledImage:
    image = read_image(path)
    size = image.shape[:2]
    label = read_label_map(root / "labels_camvid11" / "train" / f"{path.stem}.png", CAMVID_VALUES, size)
    coarse = read_label_map(root / "labels" / "train" / f"{path.stem}.png", COARSE_VALUES, size)
    for source, choice in CHOICE_OF.items():
        label[coarse == source] = choice
    outlier = np.zeros(label.shape, np.uint8)
    objects = root / "objects" / "train" / f"{path.stem}.png"
    if objects.exists():
        outlier[read_label_map(objects, OBJECT_VALUES, size) > 0] = 1
        label[outlier > 0] = IGNORE
    image = cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, SIZE, interpolation=cv2.INTER_NEAREST)
    outlier = cv2.resize(outlier, SIZE, interpolation=cv2.INTER_NEAREST)
    return LabelledImage(path.stem, drive_of(path), image, label, partial=True, outlier=outlier > 0)
