"""The one form every benchmark is read into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from m2a_core.errors import DataError
from m2a_core.files import read_array
from m2a_core.images import SUFFIXES, read_image
from m2a_core.labels.label_map import VOID, LabelValues, read_stored_values
from m2a_core.labels.label_set import LabelSet


@dataclass(frozen=True)
class Sample:
    """One frame of a data set.

    Attributes:
        name: unique in the data set.
        image: the image's file.
        labels: its ground truth; None where the benchmark keeps it.
        group: subset that is scored by itself (StreetHazards' towns), else "".
        overlay: .npz whose array ``rgb``, integer [H, W, 3], is added to the picture; None where it is whole.
        size: H, W that picture and truth are brought to, where they are stored stretched; None = as they are.
    """

    name: str
    image: Path
    labels: Path | None
    group: str = ""
    overlay: Path | None = None
    size: tuple[int, int] | None = None

    def fitted(self, ids: np.ndarray) -> np.ndarray:
        """Ids [h, w] at the sample's size, by the nearest pixel: [H, W]."""
        return ids if self.size is None else nearest(ids, self.size)

    def picture(self) -> np.ndarray:
        """Read the frame: uint8 [H, W, 3], RGB.

        Raises:
            DataError: a file is missing or damaged, or the overlay does not fit the picture.
        """
        image = read_image(self.image)
        if self.size is not None and self.size != image.shape[:2]:
            image = cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_LINEAR)
        if self.overlay is None:
            return image
        added = read_array(self.overlay, "rgb")
        if added.shape != image.shape or added.dtype.kind not in "iuf":
            raise DataError(
                f"{self.overlay}: overlay is {added.dtype.name} {list(added.shape)}, its image {self.image} is "
                f"{list(image.shape)}: same size needed"
            )
        blended: np.ndarray = np.clip(image + added.astype(np.int64), 0, 255).astype(np.uint8)
        return blended


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
class ClassView:
    """Classes to measure in.

    Attributes:
        names: the classes; id = position.
        table: the model's class id -> that id: uint8 [256].
    """

    names: tuple[str, ...]
    table: np.ndarray

    @property
    def ids(self) -> dict[str, int]:
        """Class name -> id."""
        return {name: i for i, name in enumerate(self.names)}


@dataclass(frozen=True)
class Dataset:
    """A benchmark on disk.

    Attributes:
        name: as ``m2a evaluate --dataset`` takes it.
        samples: the frames, by name.
        track: SMIYC component sizes that suit it, ``anomaly`` or ``obstacle``.
        anomaly: stored label value -> 0 known or 1 anomaly; None without anomalies.
        classes: stored label value -> class name; None without classes.
        void: the further values that label files may hold, of pixels that do not count. Any other value is an error.
        panoptic: reads a sample's segments; None without them.
        unknown: names of classes that count as unknown objects.
        optional: names of classes that a model need not know; to such a model they are void.
        by_benchmark: the benchmark's published pixel figures are those of the SMIYC code.
        coarse: class of a label set with finer classes -> the class of this data set that it is a part of, so that
            models of that set can be measured in the classes of this one.
        stored: reads the values of a label file: int [H, W].
    """

    name: str
    samples: tuple[Sample, ...]
    track: str = "anomaly"
    anomaly: Mapping[int, int] | None = None
    classes: Mapping[int, str] | None = None
    void: frozenset[int] = frozenset({VOID})
    panoptic: Callable[[Sample], PanopticTruth] | None = None
    unknown: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    by_benchmark: bool = False
    coarse: Mapping[str, str] = field(default_factory=dict)
    stored: Callable[[Path], np.ndarray] = read_stored_values

    def view(self, labels: LabelSet) -> ClassView | None:
        """The classes that a model of these labels is measured in; None where none can be."""
        names = tuple(dict.fromkeys((self.classes or {}).values()))
        if self.classes is None:
            return None
        if set(names) - self.optional <= set(labels.names):
            return ClassView(labels.names, np.arange(256, dtype=np.uint8))
        if not set(labels.names) <= self.coarse.keys():
            return None
        table = np.full(256, VOID, np.uint8)
        table[: labels.num_classes] = [names.index(self.coarse[name]) for name in labels.names]
        return ClassView(names, table)

    def anomaly_truth(self, sample: Sample) -> np.ndarray:
        """Ground truth uint8 [H, W]: 0 known, 1 anomaly, 255 void.

        Raises:
            DataError: the label file cannot be read or holds a value that the data set does not have, or the data set
                has no anomalies.
        """
        if self.anomaly is None:
            raise DataError(f"data set '{self.name}' has no anomaly ground truth")
        return self._read(sample, self.anomaly)

    def class_truth(self, sample: Sample, ids: Mapping[str, int]) -> np.ndarray:
        """Ground truth uint8 [H, W] in the class ids of a model; classes the model lacks are void.

        Args:
            sample: the frame.
            ids: class name -> the model's id.

        Raises:
            DataError: the label file cannot be read or holds a value that the data set does not have, or the data set
                has no classes.
        """
        if self.classes is None:
            raise DataError(f"data set '{self.name}' has no class ground truth")
        known = {value: ids[name] for value, name in self.classes.items() if name in ids}
        return self._read(sample, known)

    def _read(self, sample: Sample, ids: Mapping[int, int]) -> np.ndarray:
        if sample.labels is None:
            raise DataError(f"{sample.image}: its ground truth is not public")
        allowed = {*(self.anomaly or ()), *(self.classes or ()), *self.void}
        values = LabelValues(ids, frozenset(allowed - ids.keys()))
        return sample.fitted(values.decode(self.stored(sample.labels), str(sample.labels)))


def nearest(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Ids [h, w] at another size, by the nearest pixel: [H, W]."""
    if size == ids.shape:
        return ids
    rows, cols = (np.arange(new) * old // new for new, old in zip(size, ids.shape, strict=True))
    resized: np.ndarray = ids[rows][:, cols]
    return resized


def require(folder: Path, layout: str, what: str) -> Path:
    """Return the folder if it exists.

    Raises:
        DataError: naming the folder, and how the data set lies as distributed.
    """
    if not folder.is_dir():
        raise DataError(f"{what}: {folder} is missing; expected layout:\n{layout}")
    return folder


def paired(
    what: str,
    layout: str,
    images: Sequence[Path],
    labels_of: Callable[[Path], Path],
    name_of: Callable[[Path], str],
    group: str = "",
) -> tuple[Sample, ...]:
    """Pair images with their labels, whose endings may be in any case.

    Raises:
        DataError: there is no image, two images have one name, or some image lacks its labels (a half-finished
            download).
    """
    if not images:
        raise DataError(f"{what}: no images found; expected layout:\n{layout}")
    in_folder: dict[Path, dict[str, Path]] = {}
    by_name: dict[str, Sample] = {}
    absent = []
    for path in sorted(images):
        labels, name = labels_of(path), name_of(path)
        if not labels.is_file():
            if labels.parent not in in_folder:
                in_folder[labels.parent] = {p.name.lower(): p for p in _listed(labels.parent)}
            found = in_folder[labels.parent].get(labels.name.lower())
            absent += [] if found else [labels]
            labels = found or labels
        if name in by_name:
            raise DataError(f"{what}: {by_name[name].image} and {path} are both frame '{name}'; keep one")
        by_name[name] = Sample(name, path, labels, group)
    if absent:
        raise DataError(
            f"{what}: {len(absent)} of {len(by_name)} images have no labels, the first is {absent[0]}; "
            f"a half-finished download? Expected layout:\n{layout}"
        )
    return tuple(by_name.values())


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def pictures(folder: Path, pattern: str = "*") -> list[Path]:
    """Image files of a folder that match a pattern, as `shown_files`."""
    return [path for path in shown_files(folder, pattern) if path.suffix.lower() in SUFFIXES and path.is_file()]


def shown_files(folder: Path, pattern: str) -> list[Path]:
    """What in a folder matches a pattern, sorted; without hidden files, as macOS leaves one beside each of its own."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
