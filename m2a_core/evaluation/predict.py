"""Running a model over a data set: one file of outputs per frame, so that a killed run goes on where it stopped.

A file's name says what it was made from (sizes and modification times), so a frame that changed is done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2a_core.bundle.decision import Decision
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.data.base import ClassView, Dataset, Sample
from m2a_core.data.files import SCORE_KEY, Pair
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import replaced
from m2a_core.images import write_png
from m2a_core.labels.label_set import LabelSet
from m2a_core.openset.baseline_scores import SCORES
from m2a_core.openset.decision import decision_scores
from m2a_core.perception import Perception
from m2a_core.preprocess import Letterbox
from m2a_core.progress import ProgressBar
from m2a_core.types import Frame, Output

OWN_SCORES = ("refined", "anomaly", "background", "refined_road")
"""Scores that a result holds."""

REFINED_BY = {f"refined_{decision.value}": decision for decision in Decision}
"""f^r by either rule, whatever the model's own is; of the whole view alone, without colors."""

SCORE_NAMES = ("refined", "anomaly", *SCORES, "background", "refined_road", *REFINED_BY)
"""Every anomaly score that one run of the network gives, as ``--scores`` takes them."""


def parse_scores(text: str) -> tuple[str, ...]:
    """Read the value of ``--scores``: ``all``, or names separated by commas; each once, in the given order.

    Raises:
        ConfigError: a name is unknown or none is given.
    """
    names = SCORE_NAMES if text == "all" else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [name for name in names if name not in SCORE_NAMES]
    if unknown:
        raise ConfigError(f"score '{unknown[0]}': expected 'all' or some of {', '.join(SCORE_NAMES)}")
    return names


def mask_scores(network: NetworkOutput, size: tuple[int, int], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Scores of ``openset.scores``, and f^r by either rule, on one output of a network.

    Args:
        network: with its class and mask logits.
        size: H, W of the image.
        names: keys of ``SCORES`` and ``REFINED_BY``.

    Returns:
        Name -> float32 [H, W], higher = more anomalous.
    """
    assert network.class_logits is not None
    assert network.mask_logits is not None
    height, width = network.anomaly.shape
    geometry = Letterbox((height, width)).geometry(*size)
    # The mask logits go to the input size first, as in the paper's order of operations.
    masks = np.stack([cv2.resize(m, (width, height)) for m in network.mask_logits])

    def score(name: str) -> np.ndarray:
        if name in REFINED_BY:
            return decision_scores(network.anomaly, network.refined, network.background, REFINED_BY[name])[1]
        assert network.class_logits is not None
        return SCORES[name](network.class_logits, masks).astype(np.float32)

    return {name: geometry.undo_continuous(score(name)) for name in names}


@dataclass(frozen=True)
class Outputs:
    """Frame files of a data set: the model's maps and the remapped truths."""

    directory: Path

    def prediction(self, sample: Sample) -> Path:
        """File with ``anomaly`` (float32), ``semantic`` (uint8) and, where asked, ``panoptic`` (int32), all [H, W]."""
        return self.directory / "predictions" / f"{sample.name}.{_state(sample.image, sample.overlay)}.npz"

    def truth(self, sample: Sample) -> Path:
        """Anomaly truth as 0, 1, 255."""
        return self.directory / "truth" / f"{sample.name}.{_state(sample.labels)}.png"

    def pairs(self, samples: tuple[Sample, ...], score: str | None = None) -> list[Pair]:
        """Score maps against truths, of the samples that have both; by default the first score's."""
        both = [s for s in samples if self.prediction(s).exists() and self.truth(s).exists()]
        key = SCORE_KEY if score is None else score_key(score)
        return [Pair(s.name, self.prediction(s), self.truth(s), key) for s in both]


def _state(*paths: Path | None) -> str:
    """Short digest of the files' sizes and modification times."""
    stats = [path.stat() for path in paths if path is not None and path.exists()]
    return hashlib.sha256(str([(s.st_size, s.st_mtime_ns) for s in stats]).encode()).hexdigest()[:12]


def score_key(name: str) -> str:
    """Array of a further score in a frame's file."""
    return f"score_{name}"


class Scorer:
    """Computes anomaly scores with a model, all of them from one run of its network.

    Args:
        perception: the model.
        scores: of ``SCORE_NAMES``: ``refined`` (what the model decides by), ``anomaly`` (Eq. 7), ``background``
            (Eq. 17), ``refined_road``, f^r by either rule, or a name of ``openset.scores.SCORES``; the first is
            evaluated in full.
    """

    def __init__(self, perception: Perception, scores: Sequence[str]) -> None:
        """Take the names."""
        self.perception, self.scores = perception, tuple(scores)

    def compute(self, image: np.ndarray, panoptic: bool = False) -> dict[str, np.ndarray]:
        """Score an image.

        Args:
            image: uint8 [H, W, 3], RGB.
            panoptic: also give the panoptic map with unknowns.

        Returns:
            ``anomaly`` float32 (the first score), ``score_NAME`` float32 for each further one, ``semantic`` uint8,
            maybe ``panoptic`` int32; all [H, W].
        """
        wanted = {Output.SEMANTIC, *([Output.PANOPTIC] if panoptic else [])}
        wanted |= {Output(name) for name in self.scores if name in OWN_SCORES}
        others = [name for name in self.scores if name not in OWN_SCORES]
        result, network = self.perception.infer_raw(Frame(image), frozenset(wanted), raw=bool(others))
        scores = mask_scores(network, image.shape[:2], others) if others else {}
        scores |= {name: getattr(result, name) for name in self.scores if name in OWN_SCORES}
        first, *further = self.scores
        maps = {SCORE_KEY: scores[first], "semantic": result.semantic, "panoptic": result.panoptic}
        maps |= {score_key(name): scores[name] for name in further}
        return {name: values for name, values in maps.items() if values is not None}


def predict_dataset(dataset: Dataset, scorer: Scorer, outputs: Outputs) -> dict[str, str]:
    """Run the model over the samples whose outputs are not there yet.

    Returns:
        Sample name -> why it could not be done; the others are done all the same.
    """
    for folder in ("predictions", "truth"):
        (outputs.directory / folder).mkdir(parents=True, exist_ok=True)
    failed = {}
    has_truth = {s.name for s in dataset.samples if dataset.anomaly is not None and s.labels is not None}
    todo = [
        s
        for s in dataset.samples
        if not outputs.prediction(s).exists() or (s.name in has_truth and not outputs.truth(s).exists())
    ]
    panoptic = dataset.panoptic is not None
    total = len(dataset.samples)
    with ProgressBar(total=total, initial=total - len(todo), desc="model", unit="frame") as bar:
        for sample in todo:
            try:
                truth = dataset.anomaly_truth(sample) if sample.name in has_truth else None
                if not outputs.prediction(sample).exists():
                    image = sample.picture()
                    if truth is not None:
                        _require_same_size(sample, truth, image)
                    maps: Any = scorer.compute(image, panoptic)
                    with replaced(outputs.prediction(sample), alone=False) as partial:
                        np.savez(partial, **maps)
                elif truth is not None:
                    # The mask alone is new.
                    with np.load(outputs.prediction(sample), allow_pickle=False) as done:
                        _require_same_size(sample, truth, done["semantic"])
                if truth is not None:
                    write_png(outputs.truth(sample), truth, alone=False)
            except DataError as error:
                failed[sample.name] = str(error)
            bar.update()
    return failed


def _require_same_size(sample: Sample, truth: np.ndarray, image: np.ndarray) -> None:
    own, wanted = (f"{width}x{height}" for height, width in (truth.shape, image.shape[:2]))
    if own != wanted:
        raise DataError(f"{sample.labels}: {own} pixels, expected the size of its image, {wanted}")


def class_view(labels: LabelSet, dataset: Dataset) -> ClassView:
    """The classes that a model is measured in: its own, or those of a data set with coarser ones.

    Raises:
        DataError: the model lacks a class of the data set, so its IoU would mean something else.
    """
    view = dataset.view(labels)
    if view is None:
        absent = sorted(set((dataset.classes or {}).values()) - dataset.optional - set(labels.names))
        raise DataError(
            f"data set '{dataset.name}' has classes that the model's label set '{labels.name}' lacks: "
            f"{', '.join(absent[:8])}"
        )
    return view
