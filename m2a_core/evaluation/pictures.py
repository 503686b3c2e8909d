"""Pictures of a frame for the report: input, truth, decision, score; classes that are true, found and wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import Dataset
from m2a_core.data.files import Pair, files_by_frame, read_score, read_truth
from m2a_core.errors import DataError
from m2a_core.evaluation.predict import OWN_SCORES, Outputs, class_view
from m2a_core.images import SUFFIXES, read_image
from m2a_core.labels.label_set import LabelSet
from m2a_core.perception import Perception
from m2a_core.types import Frame, Output


@dataclass(frozen=True)
class Reading:
    """How scores are drawn.

    Attributes:
        low: score of the darkest colour; None for the frame's own 1st percentile.
        high: score of the brightest colour; None for the frame's own 99.9th percentile.
        threshold: T of the decision; None for no such picture.
    """

    low: float | None
    high: float | None
    threshold: float | None


Pictures = Callable[[str, Reading], dict[str, np.ndarray]]
"""Frame name, how to draw -> caption -> uint8 [H, W, 3], RGB."""

ANOMALY, KNOWN, VOID = (200, 30, 30), (235, 235, 235), (90, 90, 90)
"""Colours of the truth."""

_TRUTH_COLORS = np.full((256, 3), VOID, np.uint8)
_TRUTH_COLORS[0], _TRUTH_COLORS[1] = KNOWN, ANOMALY
FOUND, MISSED, FALSE_ALARM = (20, 120, 220), (215, 30, 30), (245, 180, 0)
"""Colours of the decision."""


def heat(score: np.ndarray, reading: Reading) -> np.ndarray:
    """Colour a score map float [H, W]: uint8 [H, W, 3], RGB."""
    finite = np.nan_to_num(score.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(finite, (1, 99.9))
    low = low if reading.low is None else reading.low
    high = high if reading.high is None else reading.high
    scaled = np.clip((finite - low) / max(high - low, 1e-12), 0, 1)
    colors = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    rgb: np.ndarray = cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)
    return rgb


def decision(image: np.ndarray | None, score: np.ndarray, truth: np.ndarray, threshold: float) -> np.ndarray:
    """Found, missed and falsely alarmed pixels over a greyed image (uint8 [H, W, 3]); white without an image."""
    canvas = _greyed(image, score.shape)
    above = score > threshold
    canvas[above & (truth == 1)] = FOUND
    canvas[~above & (truth == 1)] = MISSED
    canvas[above & (truth == 0)] = FALSE_ALARM
    return canvas


def _greyed(image: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    canvas = np.full((*shape, 3), 255, np.uint8)
    if image is not None:
        canvas[:] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] // 2 + 110
    return canvas


def folder_pictures(pairs: Sequence[Pair], images: Path | None) -> Pictures:
    """Pictures from files; the input only where ``images`` holds one for the frame."""
    by_name = {pair.name: pair for pair in pairs}
    found = {}
    if images is not None:
        if not images.is_dir():
            raise DataError(f"{images}: no such folder; --images is where the camera images lie")
        found = files_by_frame(images, SUFFIXES, "images")

    def of(name: str, reading: Reading) -> dict[str, np.ndarray]:
        pair = by_name[name]
        score, truth = read_score(pair.score, pair.key), read_truth(pair.truth)
        image = read_image(found[name]) if name in found else None
        if image is not None and image.shape[:2] != score.shape:
            image = cv2.resize(image, score.shape[::-1], interpolation=cv2.INTER_AREA)
        return _row(image, score, truth, reading) | {"score": heat(score, reading)}

    return of


def model_pictures(dataset: Dataset, outputs: Outputs, perception: Perception, score_name: str) -> Pictures:
    """Pictures from a data set and the model's outputs, with the model's own two scores (Eqs. 7 and 15)."""
    by_name = {sample.name: sample for sample in dataset.samples}

    def of(name: str, reading: Reading) -> dict[str, np.ndarray]:
        sample = by_name[name]
        image = sample.picture()
        score, truth = read_score(outputs.prediction(sample)), read_truth(outputs.truth(sample))
        pictures = _row(image, score, truth, reading)
        if score_name not in OWN_SCORES:
            pictures[f"score: {score_name}"] = heat(score, reading)
            # Another score has another scale: the model's own are drawn on theirs.
            reading = Reading(None, None, None)
        own = perception.infer(Frame(image), frozenset({Output.ANOMALY, Output.REFINED}))
        assert own.anomaly is not None
        assert own.refined is not None
        return pictures | {"score (Eq. 7)": heat(own.anomaly, reading), "refined: decides": heat(own.refined, reading)}

    return of


class ClassPictures:
    """Pictures of a data set's classes.

    Attributes:
        legend: kind, CSS colour and text of each colour, for ``reporting``'s legend.
    """

    def __init__(self, dataset: Dataset, labels: LabelSet, outputs: Outputs) -> None:
        """Take the data set, the model's classes and where its outputs are."""
        self._samples = {sample.name: sample for sample in dataset.samples}
        self._dataset, self._view, self._outputs = dataset, class_view(labels, dataset), outputs
        self._colors = np.full((256, 3), VOID, np.uint8)
        # Of model classes that are one class here, the first gives its colour.
        ids = self._view.table[: labels.num_classes]
        self._colors[ids[::-1]] = labels.colors[::-1]
        colors = (tuple(map(int, self._colors[i])) for i in range(len(self._view.names)))
        self.legend = [("fill", f"rgb{color}", name) for name, color in zip(self._view.names, colors, strict=True)]
        self.legend += [("fill", f"rgb{VOID}", "no class"), ("fill", f"rgb{MISSED}", "wrong pixels: another class")]

    def of(self, name: str) -> dict[str, np.ndarray]:
        """Caption -> uint8 [H, W, 3], RGB, of a frame.

        Raises:
            DataError: a file cannot be read.
        """
        sample = self._samples[name]
        image, truth = sample.picture(), self._dataset.class_truth(sample, self._view.ids)
        with np.load(self._outputs.prediction(sample), allow_pickle=False) as maps:
            found = self._view.table[maps["semantic"]]
        wrong = _greyed(image, truth.shape)
        wrong[(truth != 255) & (found != truth)] = MISSED
        return {"input": image, "truth": self._colors[truth], "found": self._colors[found], "wrong pixels": wrong}


def _row(image: np.ndarray | None, score: np.ndarray, truth: np.ndarray, reading: Reading) -> dict[str, np.ndarray]:
    pictures = {} if image is None else {"input": image}
    pictures["truth"] = _TRUTH_COLORS[truth]
    if reading.threshold is not None:
        pictures[f"decision at score > {reading.threshold:.4g}"] = decision(image, score, truth, reading.threshold)
    return pictures
