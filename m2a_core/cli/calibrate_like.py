"""Thresholds of ``m2a calibrate --like``: normal frames look to one bundle as they do to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from m2a_core.bundle.loading import ModelBundle


def by_count(like: str, name: str, alarms: np.ndarray, wanted: float) -> float:
    """The lowest threshold at which no more frames raise an alarm than are wanted.

    Args:
        like: the other bundle as it was named.
        name: of the threshold.
        alarms: float32 [n], of each frame, the highest threshold at which it raises one.
        wanted: how many do with the other bundle.
    """
    from m2a_core.evaluation import calibration

    threshold = calibration.threshold_at_alarms(alarms, int(wanted))
    found = int(np.count_nonzero(alarms >= threshold))
    print(
        f"{name:8s} threshold {threshold:.6g}: {found} of {len(alarms)} normal frames raise an alarm, as with "
        f"{like} at its own threshold ({wanted})"
    )
    return threshold


def by_share(like: str, scores: np.ndarray, wanted: float) -> float:
    """The extent, in [0, 1], that a wanted share of pixels, of which ``scores`` are a sample, reaches."""
    extent = float(np.clip(np.quantile(scores, 1 - wanted), 0, 1))
    print(
        f"extent   threshold {extent:.6g}: {100 * np.mean(scores >= extent):.2f} % of normal pixels reach it, as with "
        f"{like} ({100 * wanted:.2f} %)"
    )
    return extent


def by_instances(
    bundle: ModelBundle, like: ModelBundle, images: Sequence[Callable[[], np.ndarray]], extent: float
) -> float:
    """The lowest threshold of seeds at which no more unknown instances show than with the other bundle at its own.

    Args:
        bundle: whose threshold it is.
        like: the other bundle.
        images: read the normal frames.
        extent: how far instances reach with ``bundle``.
    """
    from m2a_core.evaluation import calibration
    from m2a_core.evaluation.instance_seeds import instance_seeds
    from m2a_core.progress import ProgressBar

    own, others = (
        instance_seeds(model, (read() for read in ProgressBar(images, unit="frame")), reach)
        for model, reach in ((bundle, extent), (like, None))
    )
    wanted = int(np.count_nonzero(others >= np.float32(like.manifest.thresholds.refined)))
    threshold = calibration.threshold_at_alarms(own, wanted) if len(own) > wanted else extent
    print(
        f"refined  threshold {threshold:.6g}: {np.count_nonzero(own >= np.float32(threshold))} unknown instances in "
        f"{len(images)} normal frames, {wanted} with {like.manifest.name} at its own thresholds"
    )
    return threshold
