"""Files for the SegmentMeIfYouCan leaderboard, as its code writes them: HDF5, dataset ``value``, float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from m2a_core.data.base import Dataset
from m2a_core.evaluation.predict import Scorer

_SETS = {"smiyc_anomaly": "AnomalyTrack-all", "smiyc_obstacle": "ObstacleTrack-all"}


def write_submission(dataset: Dataset, scorer: Scorer, out: Path) -> Path:
    """Write ``<out>/anomaly_p/<model>/<set>/<frame>.hdf5`` for every image; those that exist are kept.

    Returns:
        The folder with the files.
    """
    import h5py

    folder = out / "anomaly_p" / scorer.perception.manifest.name / _SETS[dataset.name]
    folder.mkdir(parents=True, exist_ok=True)
    for sample in tqdm(dataset.samples, desc="submission", unit="frame"):
        path = folder / f"{sample.name}.hdf5"
        if path.exists():
            continue
        score = scorer.compute(sample.picture())["anomaly"].astype(np.float16)
        partial = path.with_suffix(".part")
        with h5py.File(partial, "w") as file:
            file.create_dataset("value", data=score, compression=9)
        partial.replace(path)
    return folder
