"""Own data as a set that models are measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2a_core.data.base import Dataset, Sample
from m2a_core.data.own.frames import OwnDataset
from m2a_core.errors import DataError
from m2a_core.images import read_image


def measured_set(own: OwnDataset) -> Dataset:
    """The frames of ``test`` where there are any, else of ``val``.

    Raises:
        DataError: a frame is not as it should be, or there is none.
    """
    own.require_whole()
    split = "test" if own.split("test") else "val"
    frames = own.split(split)
    if not frames:
        raise DataError(
            f"{own.root}: no frames of the split 'val' (or 'test') to measure on; `m2a data split` makes one"
        )
    by_image = {frame.image: frame for frame in frames}

    def stored(image: Path) -> np.ndarray:
        picture = read_image(image)
        return by_image[image].truth((picture.shape[0], picture.shape[1])).label

    samples = []
    for frame in frames:
        size = None
        if frame.aspect is not None:
            height = read_image(frame.image).shape[0]
            size = (height, round(frame.aspect * height))
        # In some formats the truth has no file of its own: a frame's image says which one is meant.
        samples.append(Sample(frame.name, frame.image, frame.image, size=size))
    return Dataset(
        own.root.resolve().name, tuple(samples), classes=dict(enumerate(own.file.labels.names)), stored=stored
    )
