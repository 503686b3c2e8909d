"""Files for the SegmentMeIfYouCan leaderboard, as its code writes them: HDF5, dataset ``value``, float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2a_core.data.base import Dataset
from m2a_core.errors import DataError
from m2a_core.evaluation.predict import Scorer
from m2a_core.files import replaced
from m2a_core.progress import ProgressBar

_SOURCE = ".made_from"
"""Beside the sets' folders, outside of what is packed: which graph and score the files are of."""
_SETS = {"smiyc_anomaly": "AnomalyTrack-all", "smiyc_obstacle": "ObstacleTrack-all"}


def write_submission(dataset: Dataset, scorer: Scorer, out: Path) -> Path:
    """Write ``<out>/anomaly_p/<model>/<set>/<frame>.hdf5`` for every image; those of the same model are kept.

    Returns:
        The folder with the files.

    Raises:
        DataError: the folder holds files of another network or score of that name.
    """
    import h5py

    manifest = scorer.perception.manifest
    folder = out / "anomaly_p" / manifest.name / _SETS[dataset.name]
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder.parent / _SOURCE, f"{scorer.scores[0]} of {manifest.onnx_sha256}\n")
    for sample in ProgressBar(dataset.samples, desc="submission", unit="frame"):
        path = folder / f"{sample.name}.hdf5"
        if path.exists():
            continue
        score = scorer.compute(sample.picture())["anomaly"].astype(np.float16)
        with replaced(path) as partial, h5py.File(partial, "w") as file:
            file.create_dataset("value", data=score, compression=9)
    return folder


def _claim(path: Path, source: str) -> None:
    found = path.read_text(encoding="utf-8") if path.exists() else source
    if found != source:
        raise DataError(f"{path.parent}: holds files of {found.strip()}, not of {source.strip()}; name another folder")
    path.write_text(source, encoding="utf-8")
