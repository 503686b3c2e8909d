"""How well the published anomaly maps tell the composed objects from the road, against plain maximum softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2a_core.bundle.loading import ModelBundle, load_bundle
from m2a_core.compose.clip import Clip
from m2a_core.errors import EngineError
from m2a_core.metrics.pixel import PixelMetrics, PixelResult
from m2a_core.openset.class_scores import class_scores, resize_maps, softmax
from m2a_core.preprocess import Letterbox
from m2a_core.runtime.base import Runtime
from m2a_core.runtime.factory import create_runtime
from m2a_ros.demo.records import ANOMALY

KNOWN_SUFFIX = "-known"


@dataclass(frozen=True)
class Scores:
    """Pixel metrics on the same frames of the clip.

    Attributes:
        frames: number of different frames.
        published: of the anomaly maps as published.
        baseline: of maximum softmax; None when the baseline's graph gives no logits.
        baseline_model: name of the network that the baseline ran.
    """

    frames: int
    published: PixelResult
    baseline: PixelResult | None
    baseline_model: str


def recorded_maps(folder: Path) -> dict[int, dict[str, np.ndarray]]:
    """Load the maps that the recorder kept, by clip frame and output."""
    maps = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            maps[int(path.stem)] = {name: arrays[name] for name in arrays.files}
    return maps


def baseline_bundle(bundle: ModelBundle) -> ModelBundle:
    """The network before its outlier stage, ``<name>-known`` beside the bundle, where it is shipped; else the bundle.

    Raises:
        EngineError: it is there but damaged.
    """
    before = bundle.directory.parent / f"{bundle.manifest.name}{KNOWN_SUFFIX}"
    return load_bundle(before) if before.is_dir() else bundle


def score(
    clip: Clip,
    maps: dict[int, dict[str, np.ndarray]],
    bundle: ModelBundle,
    track: Callable[[Iterable[int]], Iterable[int]],
) -> Scores:
    """Compare the published maps and the baseline with the clip's ground truth.

    Args:
        clip: the clip.
        maps: what ``recorded_maps`` gave.
        bundle: the network that the baseline runs.
        track: passes frame numbers through; for a progress bar.
    """
    frames = [i for i in sorted(maps) if ANOMALY in maps[i]]
    published, baseline = PixelMetrics(), PixelMetrics()
    name = bundle.manifest.name
    runtime: Runtime | None = create_runtime(bundle)
    for i in track(frames):
        truth = clip.truth(i)
        published.update(maps[i][ANOMALY], truth)
        if runtime is not None:
            try:
                baseline.update(maximum_softmax(runtime, clip.image(i)), truth)
            except EngineError:  # The graph was exported without logits: there is no baseline then.
                runtime.close()
                runtime = None
    result = Scores(len(frames), published.compute(), baseline.compute() if runtime is not None else None, name)
    if runtime is not None:
        runtime.close()
    return result


def maximum_softmax(runtime: Runtime, image: np.ndarray) -> np.ndarray:
    """1 - max_Z softmax_Z(S): the baseline of Hendrycks and Gimpel (ICLR 2017) on the class scores S of Eq. 3.

    Args:
        runtime: the network; its graph must give logits.
        image: uint8 [H, W, 3], RGB.

    Returns:
        float32 [H, W], in [0, 1).

    Raises:
        EngineError: the graph gives no logits.
    """
    prepared, geometry = Letterbox(runtime.input_size).apply(image)
    network = runtime.infer(prepared, raw=True)
    assert network.class_logits is not None
    assert network.mask_logits is not None
    scores = class_scores(network.class_logits, resize_maps(network.mask_logits, runtime.input_size))
    return geometry.undo_continuous(1 - softmax(scores, axis=0).max(axis=0))
