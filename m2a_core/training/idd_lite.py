"""IDD-lite: Indian roads with seven coarse classes, as sets of Cityscapes' classes.

Living things hold animals and roadside objects hold rubbish, which must not be learnt as known: they stay void. The
other sets may hide unknown things, too, and are in `targets.CLASS_SETS` but not in `targets.SURE_CLASS_SETS`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import shown_files
from m2a_core.errors import DataError
from m2a_core.images import read_image
from m2a_core.labels.builtin import CITYSCAPES19
from m2a_core.labels.label_map import VOID, LabelValues, read_label_map
from m2a_core.training.datasets import FrameSource, LabelledImage
from m2a_core.training.targets import IGNORE

COARSE = LabelValues(
    {0: CITYSCAPES19.names.index("road"), 1: 212, 3: 210, 5: 211, 6: CITYSCAPES19.names.index("sky")},
    frozenset({2, 4, VOID}),
)
"""IDD-lite's class -> the class of Cityscapes, or the key of `targets.CLASS_SETS`."""
OBJECTS = LabelValues({i: i for i in range(4)}, frozenset())
SIZE = (480, 300)
"""Width, height the frames are brought to: the 320x227 files look squeezed from a wider camera image."""
HELD_EVERY = 3
"""Every third drive with marked obstacles is left out of training, for measuring."""


def drive_of(path: Path) -> str:
    """The drive a frame is from."""
    return path.stem.split("_")[0]


def held_drives(root: Path) -> set[str]:
    """Drives of the ``train`` split that no training sees."""
    drives = {drive_of(path) for path in shown_files(root / "objects" / "train", "*.png")}
    return set(sorted(drives)[::HELD_EVERY])


def idd_lite_sources(root: Path) -> list[FrameSource]:
    """List the training frames; real obstacles that the data set's ``objects`` mark are outliers.

    Args:
        root: folder with ``images/train``, ``labels/train`` and ``objects/train``.

    Returns:
        Frames with partial labels, without those of `held_drives`.

    Raises:
        DataError: there are none.
    """
    held = held_drives(root)
    paths = [path for path in shown_files(root / "images" / "train", "*.jpg") if drive_of(path) not in held]
    if not paths:
        raise DataError(f"{root / 'images' / 'train'}: no frames; give the folder that holds 'idd_lite'")
    return [FrameSource(path.stem, functools.partial(read_frame, root, "train", path.stem)) for path in paths]


def idd_obstacle_sources(root: Path) -> list[FrameSource]:
    """Those frames of `idd_lite_sources` that have a marked obstacle; arguments and errors as there."""
    marked = {path.stem for path in shown_files(root / "objects" / "train", "*.png")}
    return [source for source in idd_lite_sources(root) if source.name in marked]


def read_frame(root: Path, split: str, name: str) -> LabelledImage:
    """Read one frame.

    Args:
        root: folder of IDD-lite.
        split: ``train`` or ``val``.
        name: stem of the frame.

    Raises:
        DataError: a file is missing or malformed, or sizes differ.
    """
    image = read_image(root / "images" / split / f"{name}.jpg")
    size = image.shape[:2]
    label = read_label_map(root / "labels" / split / f"{name}.png", COARSE, size)
    outlier = np.zeros(label.shape, np.uint8)
    objects = root / "objects" / split / f"{name}.png"
    if objects.exists():
        outlier[read_label_map(objects, OBJECTS, size) > 0] = 1
        label[outlier > 0] = IGNORE
    image = cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, SIZE, interpolation=cv2.INTER_NEAREST)
    outlier = cv2.resize(outlier, SIZE, interpolation=cv2.INTER_NEAREST)
    return LabelledImage(name, drive_of(Path(name)), image, label, partial=True, outlier=outlier > 0)
