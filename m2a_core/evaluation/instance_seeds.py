"""Which seeds show the unknown instances of frames: what a threshold of seeds costs in false alarms.

A frame that raises an alarm has pixels at a score, anywhere; an instance takes a thick structure down to the extent,
with a seed in it. So frames with alarms can be as many and instances twice as many.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from m2a_core.bundle.loading import ModelBundle
from m2a_core.openset.candidates import opening_kernel
from m2a_core.perception import Perception
from m2a_core.runtime.factory import create_runtime
from m2a_core.types import Frame, Output

_WANTED = frozenset({Output.REFINED, Output.UNKNOWN_INSTANCES})


def instance_seeds(bundle: ModelBundle, images: Iterable[np.ndarray], extent: float | None = None) -> np.ndarray:
    """Of every unknown instance in images, the highest threshold of seeds that shows it: float32 [N].

    Args:
        bundle: the model's.
        images: uint8 [H, W, 3], RGB.
        extent: how far instances reach; None for the bundle's own.

    Raises:
        ModelError: the bundle cannot be run.
        InferenceError: the network failed.
    """
    reach = bundle.manifest.thresholds.extent if extent is None else extent
    perception = by_scores_alone(bundle, refined=reach, extent=reach)
    seeds: list[float] = []
    for image in images:
        result = perception.infer(Frame(image), _WANTED)
        assert result.refined is not None
        assert result.unknown_instances is not None
        thick = cv2.morphologyEx(result.refined, cv2.MORPH_OPEN, opening_kernel(image.shape[0]))
        seeds += [float(thick[result.unknown_instances == instance.id].max()) for instance in result.instances]
    perception.close()
    return np.array(seeds, np.float32)


def by_scores_alone(bundle: ModelBundle, **limits: float) -> Perception:
    """The model with scores as the network gives them: what colors make of these depends on the thresholds.

    Args:
        bundle: the model's.
        limits: thresholds in place of the bundle's.

    Raises:
        ModelError: the bundle cannot be run.
    """
    thresholds = replace(bundle.manifest.thresholds, color_area=0.0, **limits)
    return Perception(replace(bundle.manifest, thresholds=thresholds), create_runtime(bundle, spin=True))
