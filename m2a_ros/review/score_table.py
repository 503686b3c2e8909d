"""Every anomaly score on the same outputs of the network, for the frames of bags that have ground truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from m2a_core.errors import DataError, InferenceError
from m2a_core.evaluation.predict import OWN_SCORES, mask_scores, parse_scores
from m2a_core.files import plain
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.perception import Perception
from m2a_core.progress import ProgressBar
from m2a_core.types import Frame, Output
from m2a_ros.bag.frames import image_messages, load_frame
from m2a_ros.bag.reader import Bag
from m2a_ros.review.evaluation import pixel_figures
from m2a_ros.review.request import Source
from m2a_ros.review.truth import GroundTruth

Scored = tuple[str, str, int, int]
"""Bag, camera, time of recording and stamp of a frame."""

_BUFFER = 1 << 22
"""Scores held in memory for each kind of pixel and score; more go to temporary files, 4 bytes each."""


def compare_scores(
    sources: Sequence[Source], scored: Collection[Scored], truth: GroundTruth, perception: Perception, scores: str
) -> dict[str, dict[str, Any]]:
    """Run the network once more over the frames that were scored, with its logits.

    Unlike the published anomaly map these scores are not clipped to [0, 1].

    Args:
        sources: the bags.
        scored: the frames whose published maps were scored: of others, which the node dropped, nothing is compared.
        truth: ground truth, open.
        perception: the model, of a back end that gives logits.
        scores: value of ``--scores``.

    Returns:
        Score -> pixel figures and ``n_frames``, JSON values.

    Raises:
        ConfigError: a score is unknown.
        DataError: a bag is damaged.
    """
    metrics = {name: PixelMetrics(_BUFFER) for name in parse_scores(scores)}
    frames, recorded = 0, {key[:3] for key in scored}
    for source in sources:
        total = sum(topic.count for topic in source.cameras)
        with Bag(source.path) as bag, ProgressBar(total=total, desc="scores", unit="frame") as progress:
            for message in image_messages(bag, source.cameras):
                progress.update()
                key = (source.name, message.camera, message.recorded_ns)
                frame = load_frame(message).content if key in recorded else None
                if isinstance(frame, Frame) and (*key, frame.stamp_ns) in scored:
                    frames += _add(metrics, source.name, frame, truth, perception)
    figures = {name: {**pixel_figures(of.compute()), "n_frames": frames} for name, of in metrics.items()}
    return {name: plain(values) for name, values in figures.items()}


def _add(metrics: dict[str, PixelMetrics], bag: str, frame: Frame, truth: GroundTruth, perception: Perception) -> int:
    """Score a frame, if it has ground truth; how many frames that were."""
    size = (frame.image.shape[0], frame.image.shape[1])
    try:
        labels = truth.read(bag, frame.camera, frame.stamp_ns)
        # What is wrong with a mask was counted when the published maps were scored.
        if labels is None or labels.shape != size or not np.isin(labels, (0, 1, 255)).all():
            return 0
        own = frozenset(Output(name) for name in metrics if name in OWN_SCORES)
        result, network = perception.infer_raw(frame, own)
    except (DataError, InferenceError):
        return 0
    others = [name for name in metrics if name not in OWN_SCORES]
    maps = {**{o.value: getattr(result, o.value) for o in own}, **mask_scores(network, size, others)}
    for name, values in maps.items():
        metrics[name].update(values, labels)
    return 1
