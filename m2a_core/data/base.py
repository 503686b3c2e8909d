"""The one form every benchmark is read into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2a_core.data.files import load_array, read_labels
from m2a_core.errors import DataError
from m2a_core.images import SUFFIXES, read_image
from m2a_core.labels.label_set import LabelSet

VOID = 255


@dataclass(frozen=True)
class Sample:
    """One frame of a data set.

    Attributes:
        name: unique in the data set.
        image: the picture.
        labels: its ground truth; None where the benchmark keeps it.
        group: subset that is scored by itself (StreetHazards' towns), else "".
        overlay: .npz whose array ``rgb``, integer [H, W, 3], is added to the picture; None where it is whole.
    """

    name: str
    image: Path
    labels: Path | None
    group: str = ""
    overlay: Path | None = None

    def picture(self) -> np.ndarray:
        """Read the frame: uint8 [H, W, 3], RGB.

        Raises:
            DataError: a file is missing or damaged, or the overlay does not fit the picture.
        """
        image = read_image(self.image)
        if self.overlay is None:
            return image
        added = load_array(self.overlay, "rgb")
        if added.shape != image.shape or added.dtype.kind not in "iuf":
            raise DataError(
                f"{self.overlay}: overlay is {added.dtype.name} {list(added.shape)}, its image {self.image} is "
                f"{list(image.shape)}: same size needed"
            )
        return np.clip(image + added.astype(np.int64), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Segment:
    """A true segment of a panoptic map: its id in the map, class name, and whether it is a crowd."""

    id: int
    class_name: str
    crowd: bool


@dataclass(frozen=True)
class PanopticTruth:
    """Segment ids int32 [H, W] (0 = void) and the segments."""

    ids: np.ndarray
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Dataset:
    """A benchmark on disk.

    Attributes:
        name: as ``m2a evaluate --dataset`` takes it.
        samples: the frames, by name.
        track: SMIYC component sizes that suit it, ``anomaly`` or ``obstacle``.
        anomaly: stored label value -> 0 known or 1 anomaly, every other value is void; None without anomalies.
        classes: stored label value -> class name, every other value is void; None without classes.
        panoptic: reads a sample's segments; None without them.
        unknown: names of classes that count as unknown objects.
        optional: names of classes that a model need not know; to such a model they are void.
        by_benchmark: the benchmark's published pixel figures are those of the SMIYC code.
    """

    name: str
    samples: tuple[Sample, ...]
    track: str = "anomaly"
    anomaly: Mapping[int, int] | None = None
    classes: Mapping[int, str] | None = None
    panoptic: Callable[[Sample], PanopticTruth] | None = None
    unknown: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    by_benchmark: bool = False

    def suits(self, labels: LabelSet) -> bool:
        """Whether mIoU can be computed for a model of these classes."""
        return self.classes is not None and set(self.classes.values()) - self.optional <= set(labels.names)

    def anomaly_truth(self, sample: Sample) -> np.ndarray:
        """Ground truth uint8 [H, W]: 0 known, 1 anomaly, 255 void.

        Raises:
            DataError: the label file cannot be read or the data set has no anomalies.
        """
        if self.anomaly is None:
            raise DataError(f"data set '{self.name}' has no anomaly ground truth")
        return remap(self._labels(sample), self.anomaly)

    def class_truth(self, sample: Sample, ids: Mapping[str, int]) -> np.ndarray:
        """Ground truth uint8 [H, W] in the class ids of a model; classes the model lacks are void.

        Args:
            sample: the frame.
            ids: class name -> the model's id.

        Raises:
            DataError: the label file cannot be read or the data set has no classes.
        """
        if self.classes is None:
            raise DataError(f"data set '{self.name}' has no class ground truth")
        known = {value: ids[name] for value, name in self.classes.items() if name in ids}
        return remap(self._labels(sample), known)

    def _labels(self, sample: Sample) -> np.ndarray:
        if sample.labels is None:
            raise DataError(f"{sample.image}: its ground truth is not public")
        return read_labels(sample.labels)


def remap(labels: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Replace stored values: uint8 of the same shape, 255 where ``values`` has no entry."""
    size = max(int(labels.max()), *values) + 1
    table = np.full(size, VOID, np.uint8)
    for stored, meaning in values.items():
        table[stored] = meaning
    return table[labels]


def require(folder: Path, layout: str, what: str) -> Path:
    """Return the folder if it exists.

    Raises:
        DataError: naming the folder, and how the data set lies as distributed.
    """
    if not folder.is_dir():
        raise DataError(f"{what}: {folder} is missing; expected layout:\n{layout}")
    return folder


def paired(
    what: str, layout: str, images: Sequence[Path], labels_of: Callable[[Path], Path], name_of: Callable[[Path], str],
    group: str = "",
) -> tuple[Sample, ...]:  # fmt: skip
    """Pair images with their labels.

    Raises:
        DataError: there is no image, or some image lacks its labels (a half-finished download).
    """
    if not images:
        raise DataError(f"{what}: no images found; expected layout:\n{layout}")
    samples = [Sample(name_of(path), path, labels_of(path), group) for path in sorted(images)]
    absent = [str(sample.labels) for sample in samples if sample.labels is not None and not sample.labels.is_file()]
    if absent:
        raise DataError(
            f"{what}: {len(absent)} of {len(samples)} images have no labels, the first is {absent[0]}; "
            f"a half-finished download? Expected layout:\n{layout}"
        )
    return tuple(samples)


def pictures(folder: Path, pattern: str = "*") -> list[Path]:
    """Image files of a folder that match a pattern, sorted."""
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES and path.is_file())
