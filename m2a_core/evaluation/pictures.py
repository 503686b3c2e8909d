"""Pictures of a frame for the report: input, score, truth and, with a model, the refined score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from m2a_core.data.base import Dataset
from m2a_core.errors import DataError
from m2a_core.evaluation.files import Pair, frame_name, read_score, read_truth
from m2a_core.evaluation.predict import Outputs
from m2a_core.images import SUFFIXES, read_image
from m2a_core.perception import Perception
from m2a_core.types import Frame, Output

Pictures = Callable[[str], dict[str, np.ndarray]]
"""Frame name -> caption -> uint8 [H, W, 3], RGB."""

_TRUTH_COLORS = np.full((256, 3), (90, 90, 90), np.uint8)
_TRUTH_COLORS[0], _TRUTH_COLORS[1] = (235, 235, 235), (200, 30, 30)


def heat(name: str, score: np.ndarray) -> dict[str, np.ndarray]:
    """Colour a score map float [H, W] by its own 1st to 99.9th percentile; the caption says which they are."""
    finite = np.nan_to_num(score.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(finite, (1, 99.9))
    scaled = np.clip((finite - low) / max(high - low, 1e-12), 0, 1)
    colors = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return {f"{name}, {low:.3g} to {high:.3g}": cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)}


def folder_pictures(pairs: Sequence[Pair], images: Path | None) -> Pictures:
    """Pictures from files; the input only where ``images`` holds one for the frame."""
    by_name = {pair.name: pair for pair in pairs}
    found = {}
    if images is not None:
        if not images.is_dir():
            raise DataError(f"{images}: no such folder; --images is where the camera images lie")
        found = {frame_name(path): path for path in sorted(images.iterdir()) if path.suffix.lower() in SUFFIXES}

    def of(name: str) -> dict[str, np.ndarray]:
        pair = by_name[name]
        pictures = {"input": read_image(found[name])} if name in found else {}
        return {**pictures, **heat("score", read_score(pair.score)), "truth": _TRUTH_COLORS[read_truth(pair.truth)]}

    return of


def model_pictures(dataset: Dataset, outputs: Outputs, perception: Perception) -> Pictures:
    """Pictures from a data set and the model's outputs; the refined score is computed again."""
    by_name = {sample.name: sample for sample in dataset.samples}

    def of(name: str) -> dict[str, np.ndarray]:
        sample = by_name[name]
        image = read_image(sample.image)
        refined = perception.infer(Frame(image), frozenset({Output.REFINED})).refined
        assert refined is not None
        score = read_score(outputs.prediction(sample))
        truth = _TRUTH_COLORS[read_truth(outputs.truth(sample))]
        return {"input": image, **heat("score", score), "truth": truth, **heat("refined", refined)}

    return of
